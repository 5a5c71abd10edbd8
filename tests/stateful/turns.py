"""One turn of a server process: the same inbox to its real pass and to the model, and what the pass promises."""

from __future__ import annotations

from uuid import UUID

from queueapp.dispatch import Assignment
from queueapp.doorbell import Ring
from queueapp.inbox import Inbox
from queueapp.passes import Outbox
from stateful.choosing import is_matched, is_matched_by, settle, waiting_for_nothing
from stateful.model import Model, ModelWorker
from stateful.process import Process
from stateful.world import World

MANY = 500
"""No example has so many tasks: a pass that takes as many takes all that there are."""

Holding = dict[UUID, tuple[UUID | None, int]]


def turn(world: World, process: Process, tick: bool = False, last: bool = False) -> None:
    """The inbox, and then pass after pass while there is more to assign.

    `last`: the process is about to end, and sends nothing more.
    """
    model, inbox = world.model, process.take_inbox(tick)
    refused = bool(inbox.attachments) and not _may_serve(world, process)
    if tick:
        model.tick(process.node_id, world.now)
    lease_lost = not _may_serve(world, process) and (tick or refused)
    holding = _holding(model)
    with world.news_from(process):
        outbox = process.run(inbox)
    assert outbox.lease_lost == lease_lost
    routes = process.aware | set(inbox.routes)
    if refused:
        _forget_joining(world, inbox)
        assert not outbox.verdicts
    else:
        _take_in(world, inbox, outbox)
        routes |= _routes_learned(world, inbox, holding)
    if tick:
        routes |= {task.route for task in model.tasks.values()}
    while True:
        _settle(world, outbox, holding, routes)
        if lease_lost:
            process.enter(world.now)
            world.entered(process)
        if not last:
            elsewhere = process.send(outbox)
            world.tell(Ring(assigned=frozenset(elsewhere)), process)
        if not outbox.more:
            break
        holding = _holding(model)
        outbox = process.run(Inbox())
    left = waiting_for_nothing(model, world.now, routes)
    if not tick:  # else it may be another process that was told of a key's change
        left = [task for task in left if task.concurrency_key is None]
    assert not left, f"{process} could have assigned {left}"
    if not lease_lost:
        _remember(model, process, routes)
        if tick:
            all_sent(model, process)
    world.audit()


def all_sent(model: Model, process: Process) -> None:
    """Every worker that is connected here has been sent what it is to work on, whoever assigned it."""
    for worker_id, sent in process.links.items():
        for task in model.held_by(worker_id):
            assert sent.get(task.id) == task.attempt, f"{model.workers[worker_id]} was never sent {task}"


def _settle(world: World, outbox: Outbox, holding: Holding, routes: set[UUID]) -> None:
    """What was assigned now is right by the contract; what was assigned before, by others, is as the rows say."""
    found = [a for a in outbox.assignments if holding[a.task.task_id] == (a.task.session_id, a.task.attempt)]
    made = [assignment for assignment in outbox.assignments if assignment not in found]
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


def _take_in(world: World, inbox: Inbox, outbox: Outbox) -> None:
    """In the order that a pass promises: endings last, so that what arrived before still counts."""
    model, now = world.model, world.now
    for attachment in inbox.attachments:
        worker = world.joining.pop(attachment.session_id)
        worker.idle_since = now
        model.workers[worker.id] = worker
    verdicts = [
        model.finish(r.session_id, r.task_id, r.attempt, r.done, r.payload, r.retry, now) for r in inbox.reports
    ]
    said = [verdict for _, verdict in outbox.verdicts]
    assert said == verdicts, f"{said} instead of {verdicts}: {inbox.reports}"
    for sign in inbox.signs:
        model.show_life(sign.session_id, sign.task_id, sign.seconds, sign.progress, now)
    for session_id, task_id in inbox.releases:
        model.release(session_id, task_id, now)
    for session_id, max_outstanding in inbox.capacities:
        if model.workers[session_id].attached:
            model.workers[session_id].max_outstanding = max_outstanding
    for session_id in inbox.drains:
        model.drain(session_id)
    for closing in inbox.closings:
        model.close(closing.session_id, str(closing.outcome), now)


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
