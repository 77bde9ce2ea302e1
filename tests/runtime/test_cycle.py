"""The beat of decisions in virtual time: early, late, and what each cycle leaves with journal, actuator and broker."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.command import Command
from controller.domain.dispatch import AnswerStatus, Received
from controller.domain.fleet import Condition
from controller.domain.journalling import RowKind
from controller.domain.plan import OperatorOrder, OperatorVerb
from controller.domain.policy import Mode
from controller.ports import Durable
from controller.runtime.cycle import Cycle
from controller.runtime.mailbox import Mailbox
from tests.core.conftest import Kit
from tests.runtime.fakes import FakeInbox, FakeJournal, Onlooker, let_run

pytestmark = pytest.mark.virtual_time


class Hands:
    """Takes the actuator's place: keeps what it was handed."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def read_soon(self, miners: tuple[int, ...]) -> None:
        pass

    def submit(self, commands: tuple[Command, ...], durable: Durable) -> None:
        self.commands.extend(commands)


class Running:
    """A cycle at work on a site of four miners: `async with Running() as running:`."""

    def __init__(self, *, fate: bool | None = True, mode: Mode = Mode.CONTROL, seen: bool = True) -> None:
        policy = Kit.policy(mode=mode)
        facts = Kit.fleet()
        self.mailbox = Mailbox(policy)
        self.journal = FakeJournal(fate)
        self.inbox = FakeInbox()
        self.hands = Hands()
        self.onlooker = Onlooker()
        self.cycle = Cycle(
            Engine(facts, policy),
            Kit.seen_state(facts, [True] * 4) if seen else State.fresh(facts, 0.0),
            mailbox=self.mailbox,
            inbox=self.inbox,
            journal=self.journal,
            actuator=self.hands,
            watcher=self.onlooker,
            heartbeat_at=lambda: None,
        )

    async def __aenter__(self) -> Running:
        self.task = asyncio.create_task(self.cycle.run())
        await let_run()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cycle.stop()
        await asyncio.wait_for(self.task, 5)

    def order(self, seq: int = 1) -> None:
        """An order that arrives now."""
        wall = self.onlooker.decisions[-1].wall
        self.inbox.waiting.append(Received(Kit.order(seq=seq, issued_at=wall, power_w=30_000), wall))

    def urge(self) -> None:
        assert self.mailbox.put_operator(OperatorOrder(OperatorVerb.RELEASE, "uid 0"))


async def test_one_cycle_a_period_and_urgent_input_starts_one_early_without_shifting_the_beat() -> None:
    async with Running() as running:
        await asyncio.sleep(1.3)
        running.urge()
        await asyncio.sleep(1.9)
    assert running.onlooker.started[:5] == [0.0, 1.0, 1.3, 2.0, 3.0]
    assert not any(running.onlooker.overruns)


async def test_an_early_cycle_that_reaches_over_the_beat_is_no_overrun() -> None:
    """Nothing is left out for it: the beat comes right after."""
    async with Running() as running:
        loop = asyncio.get_running_loop()

        def take_fifty_milliseconds(_: object) -> None:
            if len(running.onlooker.decisions) == 2:
                loop._virtual_s += 0.05  # type: ignore[attr-defined]  # tests/conftest.py: the virtual clock

        running.onlooker.on_cycle = take_fifty_milliseconds
        await asyncio.sleep(0.98)
        running.urge()
        await asyncio.sleep(2.5)
    assert running.onlooker.started[:4] == pytest.approx([0.0, 0.98, 1.03, 2.0])
    assert not any(running.onlooker.overruns)


async def test_however_much_is_urgent_cycles_keep_fifty_milliseconds_apart() -> None:
    async with Running() as running:
        await asyncio.sleep(0.2)
        for _ in range(60):
            running.urge()
            await asyncio.sleep(0.007)
    urgent = [at for at in running.onlooker.started if 0.2 <= at < 0.62]
    assert 8 <= len(urgent) <= 9
    assert all(after - before >= 0.05 - 1e-6 for before, after in pairwise(urgent))


async def test_a_cycle_that_takes_too_long_is_counted_and_the_missed_beats_are_left_out() -> None:
    async with Running() as running:
        loop = asyncio.get_running_loop()

        def freeze_the_process(_: object) -> None:
            if len(running.onlooker.decisions) == 2:
                loop._virtual_s += 2.6  # type: ignore[attr-defined]  # tests/conftest.py: the virtual clock

        running.onlooker.on_cycle = freeze_the_process
        await asyncio.sleep(6.5)
    assert running.onlooker.started[:6] == [0.0, 1.0, 3.6, 4.0, 5.0, 6.0]
    assert running.onlooker.overruns[:4] == [False, True, False, False]


async def test_answers_go_out_after_the_journal_holds_them() -> None:
    async with Running(fate=None) as running:
        running.order()
        await asyncio.sleep(1.2)
        assert running.inbox.sent == []
        for disk in running.journal.hanging:
            disk.settle(True)
        await let_run()
        assert [answer.status for _, answer in running.inbox.sent] == [AnswerStatus.RECEIVED, AnswerStatus.ACCEPTED]
        assert {round(at, 3) for at, _ in running.inbox.sent} == {1.2}


async def test_a_disk_that_hangs_keeps_no_dispatcher_waiting_for_more_than_half_a_second() -> None:
    async with Running(fate=None) as running:
        running.order()
        await asyncio.sleep(1.8)
        assert {round(at, 3) for at, _ in running.inbox.sent} == {1.5}


async def test_answers_of_the_last_cycle_are_handed_over_before_the_cycle_ends() -> None:
    async with Running(fate=None) as running:
        running.order()
        await asyncio.sleep(1.1)
    assert len(running.inbox.sent) == 2


async def test_a_checkpoint_is_written_at_the_start_every_ten_seconds_when_an_input_is_doubted_and_at_the_stop() -> (
    None
):
    async with Running() as running:  # without a meter: stale behind 10 s
        await asyncio.sleep(25.5)
    assert [round(at) for at in running.journal.times_of(RowKind.CHECKPOINT)] == [0, 10, 11, 21, 26]
    assert running.journal.rows[-1][1].kind is RowKind.CHECKPOINT


async def test_a_prior_mode_stands_in_the_journal_before_the_first_command_of_its_cycle() -> None:
    async with Running(seen=False) as running:
        readings = Kit.readings(
            0.0,
            poi_export_w=5_000.0,
            site_load_w=15_000.0,
            despatch_export_w=12_000.0,
            reserve_up_w=0.0,
            gross_w=30_000.0,
            available_w=40_000.0,
        )
        running.mailbox.put_readings({point: replace(sample, taken_at=1.9) for point, sample in readings.items()})
        for miner in range(4):
            running.mailbox.put_telemetry(
                Kit.reading(miner, Condition.HASHING, 3500.0, 1.5, level=3, prior=f"profile-{miner}")
            )
        await asyncio.sleep(2.5)
    kinds = [row.kind for _, row in running.journal.rows]
    assert kinds.count(RowKind.PRIOR) == 4
    assert running.hands.commands
    assert kinds.index(RowKind.PRIOR) < kinds.index(RowKind.COMMAND)


async def test_in_observe_mode_nothing_reaches_the_actuator() -> None:
    async with Running(mode=Mode.OBSERVE) as running:
        running.order()
        await asyncio.sleep(5)
    assert running.hands.commands == []


async def test_an_order_is_in_a_checkpoint_by_the_cycle_that_takes_it() -> None:
    async with Running() as running:
        await asyncio.sleep(1.5)
        assert len(running.journal.times_of(RowKind.CHECKPOINT)) == 1
        running.order()
        await asyncio.sleep(1)
        assert len(running.journal.times_of(RowKind.CHECKPOINT)) == 2
        running.urge()
        await asyncio.sleep(0.2)
        assert len(running.journal.times_of(RowKind.CHECKPOINT)) == 3
        (taken,) = [json.loads(row.body) for _, row in running.journal.rows if row.kind is RowKind.ANSWER][-1:]
        kept = [row.body for _, row in running.journal.rows if row.kind is RowKind.CHECKPOINT]
        assert taken["id"] not in kept[0]
        assert taken["id"] in kept[1]
