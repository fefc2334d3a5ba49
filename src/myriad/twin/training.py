"""Training in the simulated world: gangs make steps, save, tell of it, and change their pace.

Progress is known in closed form (`progress`); an event happens only where something is to be told or done.
"""

from collections.abc import Callable

from myriad.kernel.ids import NodeId
from myriad.kernel.rng import Stream
from myriad.kernel.units import HOUR, SECOND, Instant, Span
from myriad.protocol import inputs
from myriad.protocol.inputs import Input
from myriad.twin.checkpoints import Checkpoints, Copies
from myriad.twin.gangs import ENDLESS, Ending, Run, Waits
from myriad.twin.nodes import Nodes
from myriad.twin.physics import Physics
from myriad.twin.progress import Progress
from myriad.twin.timeline import Event, Timeline

#: A gang that reports by exception tells of its first steps after this, so that its pace is known. Estimated.
_FIRST_REPORT_S = 600.0
#: For so long after its nodes are alike again it says so: longer than any control plane watches. Estimated.
_TOLD_NS = 2 * HOUR


class Training:
    """What gangs do between their start and their end, and the checkpoints they leave."""

    def __init__(
        self,
        timeline: Timeline,
        physics: Physics,
        nodes: Nodes,
        say: Callable[[Input], None],
        ends: Callable[[Run, Ending], None],
        chance: Stream,
    ) -> None:
        self._timeline, self._physics, self._nodes = timeline, physics, nodes
        self._say, self._exit, self._chance = say, ends, chance
        self.checkpoints = Checkpoints()
        #: Told when a gang begins to make steps.
        self.on_begin: Callable[[Run], None] = lambda _: None
        #: All training takes so many times as long.
        self.throttle = 1.0

    @property
    def _now(self) -> Instant:
        return self._timeline.now

    # ---- from its state on -----------------------------------------------------------------------

    def reads(self, run: Run) -> float:
        """Bytes that the gang reads from storage before it goes on."""
        if run.silent or not run.does.checkpoint_bytes:
            return 0.0
        stored, copied = self._stored(run), self._copied_step(run)
        return run.does.checkpoint_bytes if stored > copied else 0.0

    def begin(self, run: Run) -> None:
        """Its state is loaded: go on from there."""
        does = run.does
        step = 0 if run.silent else max(self._stored(run), self._copied_step(run))
        if self.checkpoints.is_spoiled(run.order.job, step):
            self._exit(run, Ending(1, self._chance.choice(run.nodes)))
            return
        run.stretch = self._nodes.stretch(run.nodes, does.stretch)
        run.slowest, run.throttle = self._nodes.slowest(run.nodes), self.throttle
        if run.slowest != 1.0:
            run.uneven_until = ENDLESS
        run.progress = Progress(step, self._now, run.pace(self._physics))
        run.reported = run.counted = run.copied = step
        if not run.silent:
            self._say(inputs.TrainingResumed(at=self._now, attempt=run.order.attempt, step=step))
        if self._is_uneven(run):
            self._tell_paces(run)
        self._plan(run, _FIRST_REPORT_S)
        self.on_begin(run)

    def _stored(self, run: Run) -> int:
        return self.checkpoints.on_storage(run.order.job, run.order.launch.resume_step)

    def _copied_step(self, run: Run) -> int:
        """The step in its own nodes' memory, where the control plane says that there is one."""
        if not run.order.launch.memory_step:
            return 0
        return self.checkpoints.in_memory(run.order.job, self._incarnations(run))

    def _incarnations(self, run: Run) -> list[tuple[NodeId, int]]:
        return [(node, self._nodes[node].incarnation) for node in run.nodes]

    # ---- step by step ----------------------------------------------------------------------------

    def _plan(self, run: Run, report_s: float) -> None:
        """Wait for the next thing to do or tell."""
        progress, does = run.progress, run.does
        assert progress is not None
        run.epoch += 1
        epoch, step = run.epoch, progress.steps_at(self._now)
        ends = min(does.fail_at_step or does.steps, does.steps)
        at = progress.done_at(ends) if ends > step else self._now
        if not run.silent:
            if run.request or not self._physics.report_s:
                at = min(at, progress.done_at(step + 1))
            else:
                at = min(at, self._now + int(report_s * SECOND))
            if not self._physics.report_s and run.counted < step and progress.ready_at(step) > self._now:
                at = min(at, progress.ready_at(step))

        def reached() -> None:
            if epoch == run.epoch and not run.broken:
                self._reached(run)

        self._timeline.at(at, reached)

    def _reached(self, run: Run) -> None:
        """Something is to be told or done."""
        progress, does = run.progress, run.does
        assert progress is not None
        self.settle(run)
        step, now = progress.steps_at(self._now), self._now
        if self._is_uneven(run):
            self._tell_paces(run)
        if run.request and step > progress.step and progress.done_at(step) == now:
            self._answer(run, step)
            return
        if step == does.fail_at_step and step:
            self._exit(run, Ending(does.exit_code or 1))
        elif step >= does.steps:
            if progress.pace.save_every and run.counted < step and now < progress.ready_at(step):
                self._timeline.at(progress.ready_at(step), self._when(run, self._reached))
            else:
                self._ends(run)
        else:
            report_s = self._physics.pace_s if self._is_uneven(run) else self._physics.report_s
            self._plan(run, report_s)

    def _when(self, run: Run, then: Callable[[Run], None]) -> Event:
        """The same later, unless the run was broken or planned anew."""
        run.epoch += 1
        epoch = run.epoch
        return lambda: then(run) if epoch == run.epoch and not run.broken else None

    def _ends(self, run: Run) -> None:
        """Its last step is done."""
        if run.does.cancelled:
            run.epoch += 1
            self._say(inputs.CancelJob(at=self._now, job=run.order.job, by="its user"))
        elif run.does.lingers:
            run.waiting = True
        else:
            self._exit(run, Ending(run.does.exit_code))

    def settle(self, run: Run, *, hurried: bool = False) -> None:
        """Tell of all that was done and not told; `hurried`: of a save under way as if it were complete."""
        progress = run.progress
        if progress is None or run.silent:
            return
        now, pace = self._now, progress.pace
        step = progress.steps_at(now)
        if step > run.reported:
            self._report(run, step)
        durable_ns = 0 if hurried else pace.save_ns + self._lag_ns(run)
        saved = progress.saved_at(now, pace.save_every, durable_ns)
        if saved > run.counted:
            saves = saved // pace.save_every - run.counted // pace.save_every
            run.counted = saved
            self._saved(run, saved, saves * pace.save_ns, saves)
        copied = progress.saved_at(now, pace.copy_every, 0 if hurried else pace.copy_ns)
        if copied > run.copied:
            copies = copied // pace.copy_every - run.copied // pace.copy_every
            run.copied = copied
            self._copied(run, copied, copies * pace.copy_ns, copies)

    def _report(self, run: Run, step: int) -> None:
        does, steps = run.does, step - run.reported
        run.count(steps)
        waits, run.waits = run.waits, Waits()
        assert run.progress is not None
        self._say(
            inputs.StepsReported(
                at=self._now,
                attempt=run.order.attempt,
                step=step,
                tokens=int(does.tokens * steps),
                flops=does.flops * steps,
                loss=8.0 / (1 + step) ** 0.1,
                step_ns=run.progress.pace.step_ns,
                straggled_ns=waits.straggled,
                exposed_ns=waits.exposed,
                throttled_ns=waits.throttled,
            )
        )
        run.reported = step

    def _lag_ns(self, run: Run) -> Span:
        """From the end of a save's standstill until it is on storage."""
        if self._physics.save_blocks:
            return 0
        return int(self._physics.write_s(run.does.checkpoint_bytes, len(run.nodes)) * SECOND)

    def _saved(self, run: Run, step: int, stall_ns: int, saves: int, request: str = "") -> None:
        self.checkpoints.store(run.order.job, step, spoiled=run.is_wrong(step))
        self._say(
            inputs.CheckpointReported(
                at=self._now,
                attempt=run.order.attempt,
                step=step,
                path=f"memory://{run.order.job}/{step}",
                checkpoint_bytes=int(run.does.checkpoint_bytes) or 1000,
                stall_ns=stall_ns,
                saves=saves,
                request=request,
            )
        )

    def _copied(self, run: Run, step: int, stall_ns: int, copies: int) -> None:
        """The state of every rank is in its partner's memory; one that is wrong is of no use to anybody."""
        if run.is_wrong(step):
            self.checkpoints.drop_copies(run.order.job)
            return
        holders = tuple(self._incarnations(run))
        self.checkpoints.copy(run.order.job, Copies(step, holders, len(holders) // 2))
        self._say(
            inputs.CheckpointReported(
                at=self._now,
                attempt=run.order.attempt,
                step=step,
                path="",
                stall_ns=stall_ns,
                saves=copies,
                tier="memory",
            )
        )

    def ask(self, run: Run, request: str) -> None:
        """A checkpoint after the step in progress."""
        if run.broken or run.progress is None or run.silent:
            return
        run.request = request
        if run.waiting:
            self._answer(run, run.progress.steps_at(self._now))
        else:
            self.settle(run)
            self._plan(run, 0.0)

    def _answer(self, run: Run, step: int) -> None:
        """Save now, and say so when it is done; training goes on after that."""
        progress = run.progress
        assert progress is not None
        pace = progress.pace
        stall_ns = pace.save_ns + self._lag_ns(run)
        ready_at = self._now + stall_ns

        def done(run: Run) -> None:
            request, run.request = run.request, ""
            run.counted = max(run.counted, step)
            self._saved(run, step, stall_ns, 1, request)
            if step >= run.does.steps:
                self._ends(run)
            else:
                self._plan(run, self._physics.report_s)

        run.progress = Progress(step, ready_at, pace)
        self._timeline.at(ready_at, self._when(run, done))

    # ---- what changes its pace -------------------------------------------------------------------

    def _is_uneven(self, run: Run) -> bool:
        """Its nodes differ in speed, or did until lately."""
        return self._now < run.uneven_until and not run.silent

    def repace(self, run: Run) -> None:
        """Its nodes, or the site's power, changed: from now on it has another pace."""
        if run.progress is None or run.broken:
            return
        slowest = self._nodes.slowest(run.nodes)
        if (slowest, self.throttle) == (run.slowest, run.throttle):
            return
        self.settle(run, hurried=True)
        if slowest != run.slowest:
            run.uneven_until = self._now + _TOLD_NS if slowest == 1.0 else ENDLESS
        run.slowest, run.throttle = slowest, self.throttle
        run.progress = run.progress.turned(self._now, run.pace(self._physics))
        if self._is_uneven(run):
            self._tell_paces(run)
        if not run.waiting:
            self._plan(run, self._physics.pace_s if self._is_uneven(run) else self._physics.report_s)

    def _tell_paces(self, run: Run) -> None:
        """What each node works on a step, without its waiting."""
        alone_ns = run.base_ns * run.stretch
        paces = {node: int(alone_ns * self._nodes[node].slowness) for node in run.nodes}
        self._say(inputs.GangPaced(at=self._now, attempt=run.order.attempt, paces=paces))
