"""One worker per miner owns all traffic to it: sweeps and commands never meet on one miner.

A queue of one, latest wins. Commands go before reads: while any waits to be taken up, no sweep starts, and a read
under way of its own miner is abandoned. Raising commands wait until the journal holds them; lowering ones never do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome, Verb
from controller.domain.fleet import MinerReading
from controller.ports import Durable, Load
from controller.runtime.slots import Slot

CLOSE_WITHIN_S = 5.0
RAISE_WITHIN_S = 5.0  # a raise the journal has not taken by then was decided about a site that may be another by now
SLOT_S = 0.15  # a healthy miner has answered by then; one that hangs must not keep a shed from the others
TIMER_S = 0.02  # a timer may fire this much early
FIRST_SWEEP_WITHIN_S = 2.0  # nothing can be decided about a miner nobody has read


class Actuator:
    """Drives the fleet. `put_report` and `put_telemetry` take what was learned; both must return at once.

    settle_s: seconds after a command at which its effect should be visible, per miner; the next read waits for that.
    """

    def __init__(
        self,
        loads: Sequence[Load],
        *,
        settle_s: Callable[[Command], float],
        sweep_period_s: float,
        concurrency: int,
        put_report: Callable[[CommandReport], None],
        put_telemetry: Callable[[MinerReading], None],
    ) -> None:
        self._loads = loads
        self._settle_s = settle_s
        self._sweep_period_s = sweep_period_s
        self._put_report = put_report
        self._put_telemetry = put_telemetry
        self._command_slots = asyncio.Semaphore(concurrency)
        self._read_slots = asyncio.Semaphore(max(concurrency // 2, 1))
        self._queue: list[Command | None] = [None] * len(loads)
        self._queued = [asyncio.Event() for _ in loads]
        self._newest_id = [0] * len(loads)
        self._last_id = 0
        self._restores: dict[int, tuple[str, asyncio.Future[CommandReport]]] = {}  # waiting in the queue, by miner
        self._busy = [False] * len(loads)
        self._resting: list[asyncio.Timeout | None] = [None] * len(loads)  # workers that wait for a sweep or a command
        self._raising: set[Slot] = set()
        self._commands_waiting = 0  # for a free slot; one that waits behind its own miner's last command is not counted
        self._lowering: set[int] = set()
        self._calm = asyncio.Event()
        self._calm.set()
        self._side_tasks: set[asyncio.Task[object]] = set()
        self._calls: set[asyncio.Task[None]] = set()  # commands on their way to miners
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Sweep and obey until cancelled; then let the calls under way come to their end, and close every load.

        A call cut off in the middle leaves its miner's write session open, and the next start could raise nothing there
        until that ends by itself.
        """
        spread_s = min(self._sweep_period_s, FIRST_SWEEP_WITHIN_S) / max(len(self._loads), 1)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for miner in range(len(self._loads)):
                    group.create_task(self._work(miner, miner * spread_s), name=f"miner {miner}")
        finally:
            for task in self._side_tasks:
                task.cancel()
            cut_off = await self._calls_ended()
            if self._side_tasks | cut_off:
                await asyncio.wait(self._side_tasks | cut_off, timeout=CLOSE_WITHIN_S)
            await asyncio.gather(*(load.close() for load in self._loads))

    def submit(self, commands: tuple[Command, ...], durable: Durable) -> None:
        """Hand out one cycle's commands: lowering ones now, raising ones once the journal holds them."""
        raising = tuple(command for command in commands if command.raises)
        for command in commands:
            self._last_id = max(self._last_id, command.command_id)
            self._newest_id[command.miner] = max(self._newest_id[command.miner], command.command_id)
            if not command.raises:
                self._enqueue(command)
        if raising:
            self._aside(self._raise_when_durable(raising, durable))

    def restore(self, miner: int, prior: str) -> asyncio.Future[CommandReport]:
        """Give one miner back the profile called `prior`, in its turn; the future holds what became of it.

        It takes the place of whatever waits for this miner, as a command would. It may raise the load: whoever asks
        has the journal hold it first.
        """
        self._newest_id[miner] = self._last_id + 1  # a raise that still waits for the journal was decided before this
        self._enqueue(Command(RESTORE_COMMAND_ID, miner, Verb.TRIM, None, raises=True, urgent=False, reason="restore"))
        done: asyncio.Future[CommandReport] = asyncio.get_running_loop().create_future()
        self._restores[miner] = (prior, done)
        return done

    def read_soon(self, miners: tuple[int, ...]) -> None:
        """Read these before their turn, as far as their workers have nothing else to do; their turn stays."""
        now = asyncio.get_running_loop().time()
        for miner in miners:
            resting = self._resting[miner]
            if resting is not None and not resting.expired():
                resting.reschedule(now)

    async def _raise_when_durable(self, commands: tuple[Command, ...], durable: Durable) -> None:
        written = False
        with suppress(TimeoutError):
            async with asyncio.timeout(RAISE_WITHIN_S):
                written = await durable.wait()
        for command in commands:
            if not written:
                self._withhold(command, "the journal could not take it, and nothing is raised unrecorded")
            elif command.command_id < self._newest_id[command.miner]:
                self._withhold(command, "a newer command took its place")
            else:
                self._enqueue(command)

    def _enqueue(self, command: Command) -> None:
        waiting = self._queue[command.miner]
        if waiting is not None:
            self._withhold(waiting, "a newer command took its place")
        elif not self._busy[command.miner]:
            self._count_waiting(+1)
        self._queue[command.miner] = command
        self._queued[command.miner].set()
        self._note_lowering(command.miner)

    def _note_lowering(self, miner: int) -> None:
        """Keep the list of miners whose lowering command could go if only there were a slot for it."""
        command = self._queue[miner]
        if command is not None and not command.raises and not self._busy[miner]:
            self._lowering.add(miner)
            for slot in self._raising:
                slot.give_back_within(SLOT_S)  # one that hangs must not keep it from this command
            self._raising.clear()
        else:
            self._lowering.discard(miner)

    def _count_waiting(self, change: int) -> None:
        """Sweeps rest as long as any command could go if only there were a slot for it."""
        self._commands_waiting += change
        if self._commands_waiting:
            self._calm.clear()
        else:
            self._calm.set()

    def _withhold(self, command: Command, why: str) -> None:
        now = asyncio.get_running_loop().time()
        report = CommandReport(command.command_id, command.miner, Outcome.WITHHELD, None, now, why)
        self._put_report(report)
        if command.command_id == RESTORE_COMMAND_ID:
            _, done = self._restores.pop(command.miner)
            _tell(done, report)

    async def _work(self, miner: int, phase_s: float) -> None:
        """One miner's worker: commands as they come, a sweep when one is due, one more when a command should show.

        Commands never put a sweep off: a miner that is trimmed again and again must still be looked at.
        """
        loop = asyncio.get_running_loop()
        sweep_due, proof_due = loop.time() + phase_s, math.inf
        while True:
            if await self._command_comes(miner, min(sweep_due, proof_due) - loop.time()):
                command = await self._obey(miner)
                proof_due = loop.time() + self._settle_s(command)
                continue
            before_its_turn = loop.time() < min(sweep_due, proof_due) - TIMER_S
            if not await self._sweep(miner) or before_its_turn:  # one more: all asked at once must not stay in step
                continue
            if proof_due <= sweep_due:
                proof_due, sweep_due = math.inf, loop.time() + self._sweep_period_s
            else:
                sweep_due = max(sweep_due + self._sweep_period_s, loop.time())

    async def _command_comes(self, miner: int, within_s: float) -> bool:
        """True as soon as a command is queued, False when the next read is due before one is."""
        queued = self._queued[miner]
        try:
            async with asyncio.timeout(max(within_s, 0.0)) as self._resting[miner]:
                await queued.wait()
        except TimeoutError:
            pass
        finally:
            self._resting[miner] = None
        return queued.is_set()

    async def _obey(self, miner: int) -> Command:
        command = await self._take_slot(miner)
        slot = Slot(self._command_slots, None if command.raises else SLOT_S)
        if command.raises:
            self._raising.add(slot)
        try:
            self._queue[miner] = None
            self._queued[miner].clear()
            self._count_waiting(-1)
            self._busy[miner] = True
            self._note_lowering(miner)
            await self._carry_out(command)
        finally:
            self._busy[miner] = False
            if self._queue[miner] is not None:
                self._count_waiting(+1)
            self._note_lowering(miner)
            self._raising.discard(slot)
            slot.give_back()
        return command

    async def _take_slot(self, miner: int) -> Command:
        """Wait for a slot and say which command it is for; a raise lets every lowering command go first."""
        while True:
            await self._command_slots.acquire()
            command = self._queue[miner]
            assert command is not None  # noqa: S101  # the event is only set together with the command
            if not command.raises or not self._lowering:
                return command
            self._command_slots.release()  # to whoever came next; then to the end of the line
            await asyncio.sleep(0)

    async def _calls_ended(self) -> set[asyncio.Task[None]]:
        """Wait for the commands on their way; those that take too long are cut off, and returned."""
        if not self._calls:
            return set()
        done, late = await asyncio.wait(set(self._calls), timeout=CLOSE_WITHIN_S)
        for call in late:
            call.cancel()
        for call in done:
            call.result()  # a bug in a driver ends the daemon as a bug, now as before
        return late

    async def _carry_out(self, command: Command) -> None:
        """Have the miner told; the call goes on when this worker is cancelled."""
        call = asyncio.create_task(self._tell_miner(command), name=f"command {command.command_id}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        await asyncio.shield(call)

    async def _tell_miner(self, command: Command) -> None:
        load = self._loads[command.miner]
        if command.command_id != RESTORE_COMMAND_ID:
            self._put_report(await load.perform(command))
            return
        prior, done = self._restores.pop(command.miner)
        report = await load.restore(prior)
        self._put_report(report)
        _tell(done, report)

    async def _sweep(self, miner: int) -> bool:
        """Read once; False when a command for this miner came and the read, or the wait for its turn, was abandoned."""
        read = asyncio.create_task(self._read_in_turn(miner), name=f"read {miner}")
        queued = asyncio.create_task(self._queued[miner].wait())
        try:
            await asyncio.wait((read, queued), return_when=asyncio.FIRST_COMPLETED)
        finally:
            queued.cancel()
            if not read.done():
                read.cancel()
                self._keep(read)
        if not read.done() or read.cancelled():
            return False
        self._put_telemetry(read.result())
        return True

    async def _read_in_turn(self, miner: int) -> MinerReading:
        await self._read_slots.acquire()
        slot = Slot(self._read_slots, None)
        try:
            await self._calm.wait()
            slot.give_back_within(SLOT_S)  # many that hang must not keep the others from being read
            return await self._loads[miner].read()
        finally:
            slot.give_back()

    def _aside(self, work: Coroutine[None, None, None]) -> None:
        """Run beside the workers, in their group: a bug there ends the daemon as a bug in a worker does."""
        assert self._group is not None  # noqa: S101  # nothing is decided before the workers run
        self._group.create_task(work)

    def _keep(self, task: asyncio.Task[object]) -> None:
        """Hold on to a task that nobody awaits until it has ended."""
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)


def _tell(done: asyncio.Future[CommandReport], report: CommandReport) -> None:
    """Whoever asked may have stopped waiting."""
    if not done.done():
        done.set_result(report)
