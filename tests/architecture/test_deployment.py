"""The files under examples/deploy name settings and commands that there are."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from queueapp.conf import Config

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples/deploy"
FILES = sorted(path for path in DEPLOY.iterdir() if path.name not in (".env", "Dockerfile.dockerignore"))
RUNNING = ROOT / "docs/running.md"

NOT_OURS = {
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "PORT",
}
"""Read by the database's image, by Python and by what runs a Procfile."""

VARIABLE = r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)"
NAMED = [
    rf"^{VARIABLE}=",  # .env
    rf"^Environment={VARIABLE}=",  # systemd
    rf"^ +{VARIABLE}: ",  # compose
    rf"\$\{{?{VARIABLE}\b",  # compose, Procfile
]

PARSE = """
import json, sys
import django
from django.core.management import get_commands, load_command_class

django.setup()
for name, *arguments in json.loads(sys.argv[1]):
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(arguments)
"""


def settings_from_the_environment() -> set[str]:
    """The names that settings.py reads by `env.kind("NAME")`, and those of conf.py."""
    tree = ast.parse((ROOT / "workqueue_project/settings.py").read_text())
    read = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "env"
        for name in [ast.literal_eval(node.args[0])]
    }
    return read | {f"WORKQUEUE_{field.name.upper()}" for field in fields(Config)}


def variables(path: Path) -> set[str]:
    text = path.read_text()
    named = {name for pattern in NAMED for name in re.findall(pattern, text, re.MULTILINE)}
    for line in re.findall(r"^ENV (.+)$", text, re.MULTILINE):  # Dockerfile
        named |= set(re.findall(rf"{VARIABLE}=", line))
    return named | set(re.findall(r"\bWORKQUEUE_[A-Z_]+", text))  # in comments too


def commands(path: Path) -> list[list[str]]:
    """What follows `manage.py` in each command line, as a process would get it."""
    text = path.read_text()
    lines = [json.loads(line) for line in re.findall(r"^CMD (\[.+\])$", text, re.MULTILINE)]
    texts = re.findall(
        r"(?:^ExecStart=|^server: |^ +command: |`|^)(\S*python manage\.py [^`\n#]+)", text, re.MULTILINE
    )
    lines += [shlex.split(re.sub(r"%i|\$PORT", "8000", line)) for line in texts]
    return [line[line.index("manage.py") + 1 :] for line in lines]


@pytest.mark.parametrize("path", [*FILES, RUNNING], ids=lambda path: path.name)
def test_every_variable_that_is_named_exists(path):
    assert variables(path) - settings_from_the_environment() - NOT_OURS == set()


def test_variables_are_seen_in_every_kind_of_file():
    seen = {path.name: variables(path) for path in FILES}
    assert "SECRET_KEY" in seen[".env.example"] & seen["compose.yaml"]
    assert "WORKQUEUE_DATA_DIR" in seen["Dockerfile"] & seen["workqueue@.service"]
    assert "PORT" in seen["Procfile"]


def test_every_command_line_is_one_that_manage_py_accepts(tmp_path):
    lines = [line for path in [*FILES, RUNNING] for line in commands(path)]
    environment = {
        "DJANGO_SETTINGS_MODULE": "workqueue_project.settings",
        "SECRET_KEY": "x",
        "WORKQUEUE_DATA_DIR": str(tmp_path),
    }
    parsed = subprocess.run(
        [sys.executable, "-c", PARSE, json.dumps(lines)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dockerfile", {"serve"}),
        ("Procfile", {"serve", "migrate"}),
        ("compose.yaml", {"serve", "migrate"}),
        ("workqueue@.service", {"serve"}),
        ("workqueue-migrate.service", {"migrate"}),
    ],
)
def test_command_lines_are_seen_in_every_kind_of_file(name, expected):
    assert {line[0] for line in commands(DEPLOY / name)} == expected


def seconds_after(pattern: str, path: Path) -> float:
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("compose.yaml", r"^ +stop_grace_period: (\d+)s$"), ("workqueue@.service", r"^TimeoutStopSec=(\d+)$")],
)
def test_who_stops_a_server_waits_for_the_whole_drain(name, pattern):
    """Once the grace for workers, once for requests under way."""
    assert seconds_after(pattern, DEPLOY / name) > 2 * Config().drain_grace_seconds


def test_the_load_balancer_is_as_patient_as_the_settings():
    nginx = DEPLOY / "nginx.conf"
    assert seconds_after(r"location / \{[^}]+proxy_read_timeout (\d+)s", nginx) > Config().max_wait_seconds
    pings = seconds_after(r"location /work/queue \{[^}]+proxy_read_timeout (\d+)s", nginx)
    assert pings > 2 * (Config().ping_interval_seconds + Config().ping_timeout_seconds)
    assert seconds_after(r"client_max_body_size (\d+)m", nginx) * 1024**2 >= Config().body_limit_bytes
