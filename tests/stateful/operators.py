"""What operators do, what time does, and how server processes start and end."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from queueapp import lifecycle, queues, sessions
from queueapp.domain.states import Outcome
from queueapp.lifecycle import Choice
from queueapp.sessions import Closing
from stateful.machine import NAMES, Machine, mostly
from stateful.process import Process
from stateful.turns import last_turn, turn

MOST_PROCESSES = 4


def has_workers(machine: Machine) -> bool:
    return bool(machine.model.workers)


class Operators(Machine):
    @rule(data=st.data(), name=st.sampled_from(NAMES), pause=st.booleans(), now=mostly)
    def pause_or_resume(self, data: st.DataObject, name: str, pause: bool, now: bool) -> None:
        self.step()
        process = data.draw(st.sampled_from([*self.world.processes, None]))
        expected = {name} if pause != (name in self.model.paused) else set()
        with self.world.news_from(process):
            if pause:
                assert queues.pause([name], "me", "", self.world.now) == expected
            else:
                assert queues.resume([name]) == expected
        if expected:
            self.model.paused ^= {name}
        self.turn_if(now, process)

    @rule(
        data=st.data(),
        name=st.sampled_from(NAMES),
        concurrency=st.sampled_from((None, 1, 2, 3)),
        per_key=st.sampled_from((None, 1, 2)),
        now=mostly,
    )
    def limit(
        self, data: st.DataObject, name: str, concurrency: int | None, per_key: int | None, now: bool
    ) -> None:
        self.step()
        process = data.draw(st.sampled_from([*self.world.processes, None]))
        with self.world.news_from(process):
            queues.configure(name, {"concurrency": concurrency, "concurrency_per_key": per_key})
        limits = {"all": concurrency, "of_key": per_key}
        self.model.limits[name] = {of: number for of, number in limits.items() if number is not None}
        self.turn_if(now, process)

    @precondition(has_workers)
    @rule(data=st.data(), disconnect=st.booleans(), now=mostly)
    def send_away(self, data: st.DataObject, disconnect: bool, now: bool) -> None:
        """Disconnect or drain a worker, over whatever process."""
        self.step()
        process = data.draw(st.sampled_from([*self.world.processes, None]))
        worker = data.draw(st.sampled_from(list(self.model.workers.values())))
        concerned = worker.attached if disconnect else worker.state == "online"
        with self.world.news_from(process):
            if disconnect:
                assert sessions.disconnect([worker.id], self.world.now) == ({worker.id} if concerned else set())
                self.model.close(worker.id, "released", self.world.now)
            else:
                assert sessions.drain([worker.id]) == ({worker.id} if concerned else set())
                self.model.drain(worker.id)
        self.turn_if(now, process)

    # ---- time

    @rule(seconds=st.sampled_from((1, 2, 3, 9, 150)), bells_away=st.booleans())
    def time_passes(self, seconds: int, bells_away: bool) -> None:
        """And nobody ticks, as when the database is away; at times longer than routes count as new. Doorbells
        between processes are lost from then on, or heard again."""
        self.clock.advance(seconds)
        self.world.bells_away = bells_away

    @rule(data=st.data(), times=st.integers(1, 4))
    def one_ticks(self, data: st.DataObject, times: int) -> None:
        """And the others do not: after a while it takes them for dead."""
        self._tick(data.draw(st.sampled_from(self.world.processes)), times)

    def _tick(self, process: Process, times: int) -> None:
        for _ in range(times):
            self.clock.advance(3)
            self.step()
            turn(self.world, process, tick=True)

    @rule(data=st.data(), rest=st.sampled_from((False, False, True)))
    def passes_run(self, data: st.DataObject, rest: bool) -> None:
        if rest:
            self.come_to_rest()
        else:
            self.step()
            turn(self.world, data.draw(st.sampled_from(self.world.processes)), tick=False)

    @precondition(lambda self: has_workers(self) and self.model.tasks)
    @rule(data=st.data())
    def late_decision(self, data: st.DataObject) -> None:
        """Of a dispatcher that went by rows which have changed since: nothing comes of it."""
        self.step()
        worker = data.draw(st.sampled_from(list(self.model.workers.values())))
        choices = [
            Choice(task.id, worker.id, self.world.now) for task in self.model.tasks.values() if not task.ready
        ]
        self.world.touched = True
        assert lifecycle.assign(choices, self.world.now) == []

    # ---- processes

    @precondition(lambda self: len(self.world.processes) < MOST_PROCESSES)
    @rule()
    def process_starts(self) -> None:
        self.step()
        self.world.start_process()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), in_order=st.booleans(), missed=mostly)
    def process_ends(self, data: st.DataObject, in_order: bool, missed: bool) -> None:
        """Another may miss it soon after, and take its workers' tasks back, or some of them."""
        self.step()
        process = data.draw(st.sampled_from(self.world.processes))
        if in_order:
            self._stop(process)
        else:  # as by `kill -9`: what was in its memory is gone, and nobody is told
            for attachment in process.inbox.attachments:
                del self.world.joining[attachment.session_id]
        self.world.processes.remove(process)
        if missed:
            self._tick(data.draw(st.sampled_from(self.world.processes)), times=5)

    def _stop(self, process: Process) -> None:
        """As the hub does: its workers' tasks are released at the end of all that was said."""
        process.inbox.closings += [Closing(worker_id, Outcome.RELEASED, 1012) for worker_id in process.links]
        process.links.clear()
        last_turn(self.world, process)
        with self.world.news_from(process):
            sessions.stop_node(process.node_id, self.world.now)
        self.model.stop(process.node_id, self.world.now)
