"""/metrics of a real server, which has served real workers."""

from __future__ import annotations

import httpx
from processes import PATIENCE_SECONDS, Server, eventually, finish, receive
from prometheus_client.parser import text_string_to_metric_families


async def scrape(server: Server) -> dict[str, float]:
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/metrics")
    assert answer.status_code == 200
    return {
        " ".join([sample.name, *sample.labels.values()]).removeprefix("workqueue_"): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_tells_of_tasks_passes_requests_and_sockets(server: Server):
    async with server.worker("?task=tag") as worker:
        await server.submit({"name": "tag"}, {"name": "tag"})
        await finish(worker, (await receive(worker))[0])
        await finish(worker, (await receive(worker))[0])

        async def both_are_done() -> dict[str, float] | None:
            metrics = await scrape(server)
            return metrics if metrics.get("tasks_finished_total tag succeeded") == 2 else None

        metrics = await eventually(both_are_done)
        assert metrics["tasks_submitted_total tag"] == metrics["tasks_assigned_total tag"] == 2
        assert metrics["http_requests_total POST 201"] == 1
        assert metrics["pass_seconds_count"] >= 2
        assert metrics["pass_seconds_sum"] > 0
        assert metrics["websocket_opened_total"] == metrics["websocket_connections"] == 1
        assert metrics["websocket_frames_sent_total"] == metrics["websocket_frames_received_total"] == 2
        await worker.close(1000)

    async def the_socket_is_closed() -> dict[str, float] | None:
        metrics = await scrape(server)
        return metrics if metrics["websocket_connections"] == 0 else None

    metrics = await eventually(the_socket_is_closed)
    assert metrics["websocket_closed_total 1000"] == 1


async def test_tells_why_workers_were_refused(server: Server):
    async with server.worker("?task=tag", token="wq_nobody") as worker:
        await worker.wait_closed()

    async def the_close_is_counted() -> bool:
        return (await scrape(server)).get("websocket_closed_total 4401") == 1

    await eventually(the_close_is_counted)
