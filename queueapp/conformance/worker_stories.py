"""Stories against a worker, told by a scripted server."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from queueapp.conformance.host import Guest, Host, gaps
from queueapp.conformance.stories import Deviation, NotApplicable, Stories, expect
from queueapp.protocol import RESTART_REASON, CloseCode, Drain, Release, Result

stories: Stories[Host] = Stories()

COMES_AGAIN_AFTER = (CloseCode.RESTART, CloseCode.GOING_AWAY, CloseCode.REGISTRATION_TIMEOUT, CloseCode.TOO_MANY)
UNREAD_SECONDS = 1.0


@stories.must
async def attaches(host: Host) -> None:
    """A worker comes to /work/queue with its credential and a usable registration, and performs a task."""
    guest = await host.guest()
    await guest.perform(guest.task())


@stories.must
async def several_tasks(host: Host) -> None:
    """Every task that is within a worker's credit gets a result."""
    guest = await host.guest()
    await guest.perform(*(guest.task(number) for number in range(min(guest.max_outstanding, 20))))


@stories.must
async def batches(host: Host) -> None:
    """A worker that asks for _batch=1 reads arrays of messages."""
    guest = await host.guest()
    if not guest.batch:
        raise NotApplicable("the worker does not ask for _batch=1")
    tasks = [guest.task(number) for number in range(min(guest.max_outstanding, 5))]
    await guest.say(tasks)
    await guest.end(*tasks)


@stories.must
async def unknown_members(host: Host) -> None:
    """Members of a task that a worker does not know are passed over."""
    guest = await host.guest()
    await guest.perform(guest.task(colour="red", traceparent="00-ab", nested={"a": [1]}))


@stories.must
async def odd_payload(host: Host) -> None:
    """A task that a worker can make nothing of is answered by a result, and costs no connection."""
    guest = await host.guest()
    await guest.perform(guest.task(1, data={"unexpected": [None, "\u00e4", 1e300]}))
    await guest.perform(guest.task(2))


@stories.must
async def messages_of_no_concern(host: Host) -> None:
    """A v1 worker passes over kinds that it does not know, errors, and news of tasks that it does not hold."""
    guest = await host.guest()
    guest.needs_v1()
    await guest.say({"kind": "news", "from": "the future"})
    await guest.say({"kind": "error", "code": "invalid", "message": "What was that?"})
    await guest.say({"kind": "cancel", "task_id": guest.task(99)["task_id"], "attempt": 1, "reason": "cancelled"})
    await guest.say({"kind": "ack", "task_id": guest.task(98)["task_id"], "attempt": 1, "status": "unknown"})
    await guest.perform(guest.task())


@stories.should
async def bad_frames(host: Host) -> None:
    """A worker goes on after a frame that it cannot read."""
    guest = await host.guest()
    for frame in ("{not json", "null", b"\x00"):
        await guest.say(frame)
    await guest.perform(guest.task())


@stories.should
async def lost_ack(host: Host) -> None:
    """A v1 worker sends a result again while it is not acknowledged."""
    guest = await host.guest()
    guest.needs_v1()
    await guest.give(guest.task())
    first = await guest.hear_result()
    second = await guest.hear_result()
    expect(second == first, f"{second} after {first}")
    await guest.acknowledge(second, guest.task())


@stories.must
async def duplicate_task(host: Host) -> None:
    """An attempt that is given twice has one result, however often that is sent."""
    guest = await host.guest()
    task = guest.task(1)
    await guest.give(task, task)
    results = [await guest.hear_result()]
    await guest.acknowledge(results[0], task)
    # Only now, for a worker may perform several at once and end with any first.
    await guest.give(guest.task(2))
    while (result := await guest.hear_result()).task_id == task["task_id"]:
        results.append(result)
        await guest.acknowledge(result, task, "stale")
    expect(len(set(results)) == 1, results)


@stories.must
async def stale_result(host: Host) -> None:
    """A worker whose result came too late does not insist, and goes on."""
    guest = await host.guest()
    guest.needs_v1()
    task = guest.task(1)
    await guest.give(task)
    await guest.acknowledge(await guest.hear_result(), task, "stale")
    await guest.perform(guest.task(2))  # so it has read that, and what it sends from now on is not of before
    try:
        async with asyncio.timeout(host.worker.quiet_seconds):
            message = await guest.hear_of(task)
    except TimeoutError:
        return
    raise Deviation(f"{message}, after it was told that nobody wants it")


@stories.must
async def slow_reader(host: Host) -> None:
    """Results that the server reads late all come, and the worker comes through it with its connection."""
    guest = await host.guest()
    tasks = [guest.task(number) for number in range(min(guest.max_outstanding, 20))]
    guest.socket.transport.pause_reading()
    await guest.give(*tasks)
    await asyncio.sleep(UNREAD_SECONDS)
    guest.socket.transport.resume_reading()
    waited_for = {task["task_id"]: task for task in tasks}
    while waited_for:
        result = await guest.hear_result()
        if task := waited_for.pop(result.task_id, None):
            await guest.acknowledge(result, task)


@stories.must
async def wiped_queue(host: Host) -> None:
    """A worker that lost its connection forgets what it held: it says nothing more of the old attempts."""
    first = await host.guest()
    tasks = [first.task(number) for number in range(1, min(first.max_outstanding, 5) + 1)]
    await first.give(*tasks)
    first.socket.transport.abort()
    second = await host.guest()
    results = await second.perform(*(second.task(number + 100, attempt=2) for number in range(2)))
    expect(len(results) == 2, results)


@stories.must
async def comes_again(host: Host) -> None:
    """A worker comes again after 1000, 1001, 1012, 4408, 4429 and a broken connection, and does not hammer."""
    await _turned_away(host)
    spent = sum(gaps(host.visits))
    expect(spent >= host.worker.hammering_seconds, f"{len(host.visits)} connections in {spent:.3f} s")


@stories.should
async def backs_off_with_jitter(host: Host) -> None:
    """The pauses before a worker comes again differ, so that a fleet does not return all at once."""
    await _turned_away(host)
    pauses = sorted(gaps(host.visits))
    expect(pauses[-1] - pauses[0] > pauses[-1] / 5, f"pauses of {[round(pause, 2) for pause in pauses]} s")


@stories.must
async def stays_away_when_unusable(host: Host) -> None:
    """After 4400, which its registration would only meet again, a worker does not come again."""
    await _is_not_followed(host, CloseCode.BAD_REGISTRATION)


@stories.must
async def stays_away_when_forbidden(host: Host) -> None:
    """After 4403 a worker does not come again."""
    await _is_not_followed(host, CloseCode.FORBIDDEN)


@stories.must
async def stays_away_when_disconnected(host: Host) -> None:
    """After 4409, an operator's word, a worker does not come again."""
    await _is_not_followed(host, CloseCode.DISCONNECTED)


@stories.must
async def stays_away_when_not_authenticated(host: Host) -> None:
    """After 4401 a worker does not come again."""
    await _is_not_followed(host, CloseCode.NOT_AUTHENTICATED)


@stories.must
async def drain_for_a_restart(host: Host) -> None:
    """A v1 worker that is asked to finish ends or gives back what it holds, and comes again after 1012."""
    guest = await host.guest()
    guest.needs_v1()
    task = guest.task()
    await guest.give(task)
    await guest.say({"kind": "drain", "reason": RESTART_REASON})
    await _ends_or_gives_back(guest, task)
    if not await guest.closed(1.0):
        await guest.socket.close(CloseCode.RESTART, RESTART_REASON)
    again = await host.guest()
    await again.perform(again.task(2))


@stories.should
async def drain_for_good(host: Host) -> None:
    """A v1 worker that an operator asks to leave finishes and closes its connection itself, with 1000 or 1001."""
    guest = await host.guest()
    guest.needs_v1()
    await guest.perform(guest.task())
    await guest.say({"kind": "drain", "reason": "Asked to finish and leave."})
    expect(await guest.closed(host.worker.patience_seconds), "the connection stays open")
    expect(guest.socket.close_code in (1000, 1001), f"closed with {guest.socket.close_code}")


@stories.should
async def orderly_end(host: Host) -> None:
    """On SIGTERM a worker ends or gives back what it holds and closes its connection itself."""
    guest = await host.guest()
    await guest.perform(guest.task())
    os.killpg(host.process.pid, signal.SIGTERM)
    expect(await guest.closed(host.worker.patience_seconds), "the connection stays open")
    expect(
        guest.socket.close_code in (1000, 1001),
        f"ended with {guest.socket.close_code}, not by a closing handshake",
    )


@stories.should
async def half_open_connection(host: Host) -> None:
    """A worker notices that the server is not there any more, though nothing closed the connection."""
    guest = await host.guest()
    await guest.perform(guest.task())
    guest.socket.transport.pause_reading()  # so that neither pings nor anything else is answered
    await host.guest(host.worker.half_open_seconds)


async def _turned_away(host: Host) -> None:
    """Each time the worker has registered it is closed, with another code."""
    for code in COMES_AGAIN_AFTER:
        await (await host.guest()).socket.close(code, "Come again.")
    await (await host.guest()).socket.close(CloseCode.NORMAL)
    (await host.guest()).socket.transport.abort()
    guest = await host.guest()
    await guest.perform(guest.task())


async def _is_not_followed(host: Host, code: CloseCode) -> None:
    guest = await host.guest()
    await guest.socket.close(code, "Do not come again.")
    with suppress(TimeoutError):
        async with asyncio.timeout(host.worker.quiet_seconds):
            await host.process.wait()
    expect(len(host.visits) == 1, f"came again after {int(code)}")


async def _ends_or_gives_back(guest: Guest, task: dict[str, object]) -> None:
    while True:
        match await guest.hear():
            case Result(task_id) as result if task_id == task["task_id"]:
                await guest.acknowledge(result, task)
                return
            case Release(task_id) if task_id == task["task_id"]:
                return
            case Drain():
                await guest.say({"kind": "drain", "reason": "Confirmed."})
            case _:
                pass
