"""`manage.py submit` and `serve` as they are typed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from processes import PATIENCE_SECONDS, ROOT, Server, copied, finish, receive

pytestmark = pytest.mark.only_on("sqlite", reason="what a process says and hears is the same on either database")


def typed(
    server: Server, *arguments: str, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=server.environment | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


class TestSubmit:
    async def test_a_file_of_json_lines_reaches_the_workers_of_a_running_server(self, server, tmp_path):
        lines = tmp_path / "tasks.jsonl"
        lines.write_text("".join(json.dumps({"name": "t", "data": n}) + "\n\n" for n in range(30)))
        async with server.worker("?task=t") as worker:
            waiting = asyncio.create_task(asyncio.to_thread(typed, server, "submit", str(lines), "--wait"))
            for task in await receive(worker, 30):
                await finish(worker, task, task["data"] * 2)
            done = await waiting
        assert done.returncode == 0
        printed = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(task["result"] for task in printed) == [n * 2 for n in range(30)]
        assert {(task["name"], task["state"], task["error"]) for task in printed} == {("t", "succeeded", None)}

    async def test_standard_input_is_a_dash(self, server):
        done = await asyncio.to_thread(typed, server, "submit", "-", stdin='{"name": "t"}\n')
        assert done.returncode == 0
        assert (await server.counts("t"))["pending"] == 1

    async def test_with_a_wrong_line_nothing_is_submitted_and_each_is_named(self, server):
        lines = '{"name": "t"}\n{"name": "bad name"}\nnonsense\n{"name": "t", "prioritee": 1}\n'
        done = await asyncio.to_thread(typed, server, "submit", "-", stdin=lines)
        assert done.returncode == 1
        for said in (
            "3 lines are wrong",
            "line 2: /name",
            "line 3: not JSON",
            "line 4: /prioritee: unknown field",
        ):
            assert said in done.stderr
        assert await server.tasks() == []

    async def test_of_one_wrong_line_it_speaks_in_the_singular(self, server):
        done = await asyncio.to_thread(typed, server, "submit", "-", stdin="nonsense\n")
        assert done.returncode == 1
        assert "Nothing was submitted; 1 line is wrong:\nline 1: not JSON" in done.stderr

    async def test_a_file_that_is_not_there_is_said_so(self, server):
        done = await asyncio.to_thread(typed, server, "submit", "missing.jsonl")
        assert (done.returncode, "missing.jsonl" in done.stderr) == (1, True)


class TestServe:
    @pytest.mark.only_on("sqlite", reason="it is about a set-up without Redis")
    def test_without_redis_a_second_process_is_refused_and_told_why(self, server):
        second = typed(server, "serve", "--port", "0", WORKQUEUE_LEASE_SECONDS="3")
        assert second.returncode == 1
        assert "REDIS_URL" in second.stderr

    def test_a_port_in_use_is_an_error(self, server):
        second = typed(server, "serve", "--port", str(server.port), DEBUG="1")
        assert second.returncode == 1
        assert "Cannot listen" in second.stderr

    @pytest.mark.parametrize("option", [(), ("--daphne",)])
    def test_without_tables_it_ends_in_a_line_that_says_what_to_do(self, server, tmp_path, option):
        refused = typed(server, "serve", "--port", "0", *option, WORKQUEUE_DATA_DIR=str(tmp_path / "new"))
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "manage.py migrate" in line

    def test_with_a_migration_missing_it_ends_in_a_line_that_names_it(self, prepared, tmp_path):
        with copied(prepared, tmp_path) as server:
            server.manage("migrate", "queueapp", "0014", "--verbosity", "0")
            refused = typed(server, "serve", "--port", "0")
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "lacks queueapp.0015_activity" in line
        assert "manage.py migrate" in line

    def test_with_a_database_that_is_ahead_it_starts(self, prepared, tmp_path):
        with copied(prepared, tmp_path) as server:
            server.manage(
                "shell",
                "--command",
                "from django.db.migrations.recorder import MigrationRecorder; from django.db import connection;"
                "MigrationRecorder(connection).record_applied('queueapp', '9999_of_the_next_version')",
            )
            server.start()
            assert server.running

    def test_with_a_database_that_cannot_be_reached_it_starts(self, prepared, tmp_path):
        nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1"}
        with copied(prepared, tmp_path) as server:
            server.environment |= nowhere
            server.start()
            assert server.running

    def test_without_a_secret_key_it_does_not_start(self, server):
        refused = typed(server, "serve", SECRET_KEY="")
        assert refused.returncode == 1
        assert "SECRET_KEY" in refused.stderr

    def test_a_setting_of_the_wrong_type_is_named(self, server):
        refused = typed(server, "serve", WORKQUEUE_LEASE_SECONDS="soon")
        assert refused.returncode == 1
        assert "WORKQUEUE_LEASE_SECONDS" in refused.stderr

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    async def test_it_says_that_it_is_well(self, server, path):
        async with server.api("producer") as api:
            answer = await api.get(f"http://127.0.0.1:{server.port}{path}")
        assert answer.status_code == 200


class TestLease:
    async def test_a_process_that_lost_its_lease_lets_its_workers_come_again(self, server):
        """As after a long stop: others have given the tasks of its workers away."""
        async with server.worker("?task=t") as worker:
            await server.until_attached(1)
            typed(
                server,
                "shell",
                "--command",
                "from queueapp import database, sessions; from queueapp.models import Node;"
                "sessions.reap(list(Node.objects.running()), database.now())",
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                await worker.wait_closed()
            assert worker.close_code == 1012
        async with server.worker("?task=t") as worker:
            await server.submit({"name": "t"})
            await receive(worker)


async def _attached(server: Server, count: int) -> bool:
    return len(await server.workers()) == count
