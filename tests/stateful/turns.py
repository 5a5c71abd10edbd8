"""One turn of a server process: the same inbox to its real pass and to the model, and what the pass promises."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from uuid import UUID

from queueapp.dispatch import Assignment
from queueapp.doorbell import Ring
from queueapp.inbox import Inbox
from queueapp.passes import Outbox
from stateful.choosing import is_matched, is_matched_by, settle, waiting_for_nothing
from stateful.model import Model, ModelWorker
from stateful.portions import MANY, end_or_hold_back, end_orphans, end_some, released, taken
from stateful.process import Process
from stateful.world import World

Holding = dict[UUID, tuple[UUID | None, int]]


def turn(world: World, process: Process, tick: bool = False, passes: int | None = None) -> None:
    """The inbox, and then pass after pass while there is more to do. A turn may have few passes: then the others
    come in the next, after what others do meanwhile."""
    passes = world.sizes.passes_a_turn if passes is None else passes
    routes = set(process.aware)
    for number in range(passes):
        if not _run_pass(world, process, tick and number == 0, routes):
            left = waiting_for_nothing(world.model, world.now, routes)
            if not tick:  # else it may be another process that was told of a key's change
                left = [task for task in left if task.concurrency_key is None]
            assert not left, f"{process} could have assigned {left}"
            break
    else:
        assert passes < MANY, "They go on and on."
    world.audit()


def _run_pass(world: World, process: Process, tick: bool, routes: set[UUID]) -> bool:
    """Adds to the `routes` that the process knows of. Returns whether another pass is to follow at once."""
    model, inbox = world.model, process.take_inbox(tick)
    holding = _holding(model)
    with world.news_from(process):
        outbox = process.run(inbox)
    _look_at_the_clock(model, process.node_id, tick, world.now)
    said = taken(inbox, outbox.left)
    refused = bool(said.attachments) and not _may_serve(world, process)
    lease_lost = not _may_serve(world, process) and (tick or refused)
    assert outbox.lease_lost == lease_lost
    if refused:
        _forget_joining(world, inbox)
        said = Inbox()
    verdicts = _take_in(world, said)
    assert [verdict for _, verdict in outbox.verdicts] == verdicts, f"{outbox.verdicts} instead of {verdicts}"
    end_or_hold_back(model, inbox.closings, outbox.left, world.now)
    assert outbox.more or not model.nodes[process.node_id].has_orphans, "orphans would wait for the next tick"
    routes |= {*inbox.routes, *_routes_learned(world, said, holding)}
    if tick:
        routes |= {task.route for task in model.tasks.values()}
    _settle(world, outbox, holding, routes)
    if lease_lost:
        process.enter(world.now)
        world.entered(process)
    else:
        _remember(model, process, routes)
    elsewhere = process.send(outbox)
    world.tell(Ring(assigned=frozenset(elsewhere)), process)
    if tick:
        all_sent(model, process, inbox.spoken_of())
    return outbox.more or bool(outbox.left)


def last_turn(world: World, process: Process) -> None:
    """All that was said, in as many portions as that takes. Nothing is assigned any more, and nobody is told."""
    inbox = process.take_inbox(tick=False)
    with world.news_from(process):
        process.passes.take_in_all(inbox)
    while inbox:
        said, inbox = inbox.portion()
        if said.attachments and not _may_serve(world, process):
            _forget_joining(world, said)
        else:
            _take_in(world, said)
        for closing in said.closings:
            world.model.close(closing.session_id, str(closing.outcome), world.now)
    world.audit()


def _look_at_the_clock(model: Model, node_id: UUID, tick: bool, now: datetime) -> None:
    node = model.nodes[node_id]
    if tick:
        model.renew_lease(node_id, now)
        end_some(model, released(model.reap(node_id, now)), now)
    if tick or node.has_orphans:
        node.has_orphans = end_orphans(model, now)
    if tick:
        model.look_at_the_clock(now)


def all_sent(model: Model, process: Process, but: Container[tuple[UUID, UUID]] = ()) -> None:
    """Every worker that is connected here has been sent what it is to work on, whoever assigned it, and told what
    is its no more, `but` for the (session, task) of which it spoke itself, perhaps out of turn."""
    for worker_id, tasks in process.links.items():
        sent = {task_id: number for task_id, number in tasks.items() if (worker_id, task_id) not in but}
        held = {task.id: task.attempt for task in model.held_by(worker_id) if (worker_id, task.id) not in but}
        assert sent == held, f"{worker_id} was sent {sent}, and is to work on {held}"


def _settle(world: World, outbox: Outbox, holding: Holding, routes: set[UUID]) -> None:
    """What was assigned now is right by the contract; what was assigned before, by others, is as the rows say."""
    found = [a for a in outbox.assignments if holding[a.task.task_id] == (a.task.session_id, a.task.attempt)]
    made = [assignment for assignment in outbox.assignments if assignment not in found]
    again = outbox.left.spoken_of() & {(a.task.session_id, a.task.task_id) for a in found}
    assert not again, f"{again} are sent to who was done with them"
    given = {assignment.task.task_id: assignment.task.session_id for assignment in made}
    assert len(given) == len(made), "a task was assigned twice in one pass"
    settle(world.model, given, routes, outbox.more, world.now)
    for assignment in outbox.assignments:
        _is_true(world.model, assignment)


def _is_true(model: Model, assignment: Assignment) -> None:
    """What a worker is about to be sent is still so."""
    task, said = model.tasks[assignment.task.task_id], assignment.task
    assert (task.holder, task.attempt) == (said.session_id, said.attempt), f"{task} is sent to one who lacks it"
    assert (task.name, task.priority, task.timeout) == (said.name, said.priority, said.timeout_seconds)
    assert (task.route, task.deadline) == (said.route_id, said.deadline)


def _may_serve(world: World, process: Process) -> bool:
    return world.model.nodes[process.node_id].running


def _holding(model: Model) -> Holding:
    return {task.id: (task.holder, task.attempt) for task in model.tasks.values()}


def _take_in(world: World, said: Inbox) -> list[str]:
    """The verdicts on the reports."""
    model, now = world.model, world.now
    for attachment in said.attachments:
        worker = world.joining.pop(attachment.session_id)
        worker.idle_since = now
        model.workers[worker.id] = worker
    verdicts = [
        model.finish(r.session_id, r.task_id, r.attempt, r.done, r.payload, r.retry, now) for r in said.reports
    ]
    for sign in said.signs:
        model.show_life(sign.session_id, sign.task_id, sign.seconds, sign.progress, now)
    for session_id, task_id in said.releases:
        model.release(session_id, task_id, now)
    for session_id, max_outstanding in said.capacities:
        if model.workers[session_id].attached:
            model.workers[session_id].max_outstanding = max_outstanding
    for session_id in said.drains:
        model.drain(session_id)
    return verdicts


def _forget_joining(world: World, inbox: Inbox) -> None:
    for attachment in inbox.attachments:
        del world.joining[attachment.session_id]


def _routes_learned(world: World, inbox: Inbox, holding: Holding) -> set[UUID]:
    """Routes that got ready tasks by the inbox itself, or that match a worker who offers what none ever has."""
    model = world.model
    routes = {task.route for task in model.tasks.values() if task.ready and holding[task.id][0] is not None}
    for attachment in inbox.attachments:
        worker = model.workers[attachment.session_id]
        if worker.state == "online" and _profile(worker) not in world.offered:
            routes |= {task.route for task in model.tasks.values() if is_matched_by(worker, task)}
    world.offered |= {_profile(model.workers[attachment.session_id]) for attachment in inbox.attachments}
    return routes


def _profile(worker: ModelWorker) -> str:
    return repr(sorted({repr(sorted(subscription.items())) for subscription in worker.subscriptions}))


def _remember(model: Model, process: Process, routes: set[UUID]) -> None:
    """Tasks that wait for room are not forgotten; those that nobody matches are looked for when one comes, those
    that are held back when their key changes."""
    waiting = [task for task in model.tasks.values() if task.ready and task.route in routes]
    waiting = [task for task in waiting if task.concurrency_key is None]
    process.aware = {task.route for task in waiting if is_matched(model, task)}
