"""The workers of the fleet: who goes first, who waits for the journal, and that one dead miner holds up nobody."""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.command import Outcome, Verb
from tests.runtime.fakes import Crew, FakeDurable, FakeLoad, command, let_run

pytestmark = pytest.mark.virtual_time


async def test_a_lowering_command_goes_at_once_while_the_journal_hangs() -> None:
    async with Crew([FakeLoad(0)]) as crew:
        crew.submit(command(1), durable=FakeDurable(written=None))
        await asyncio.sleep(0.01)
        assert crew.loads[0].obeyed == [1]


async def test_a_raising_command_waits_for_the_commit() -> None:
    async with Crew([FakeLoad(0)]) as crew:
        disk = FakeDurable(written=None)
        crew.submit(command(1, verb=Verb.WAKE), durable=disk)
        await asyncio.sleep(4)
        assert crew.loads[0].obeyed == []
        disk.settle(True)
        await asyncio.sleep(0.01)
        assert crew.loads[0].obeyed == [1]


async def test_a_raise_that_a_hung_disk_takes_much_later_is_not_sent_any_more() -> None:
    async with Crew([FakeLoad(0)]) as crew:
        disk = FakeDurable(written=None)
        crew.submit(command(1, verb=Verb.WAKE), durable=disk)
        await asyncio.sleep(6)
        assert set(crew.withheld) == {1}, "the core must hear of it, or it waits for watts that never come"
        disk.settle(True)
        await asyncio.sleep(1)
        assert crew.loads[0].obeyed == []


async def test_a_raising_command_that_could_not_be_written_is_withheld_and_says_why() -> None:
    async with Crew([FakeLoad(0)]) as crew:
        crew.submit(command(1, verb=Verb.WAKE), command(2, verb=Verb.TRIM, raises=True), durable=FakeDurable(False))
        await asyncio.sleep(1)
        assert crew.loads[0].obeyed == []
        assert set(crew.withheld) == {1, 2}
        assert "journal" in crew.withheld[1]


async def test_a_raise_that_became_durable_after_a_newer_lowering_command_is_not_delivered() -> None:
    async with Crew([FakeLoad(0)]) as crew:
        disk = FakeDurable(written=None)
        crew.submit(command(1, verb=Verb.WAKE), durable=disk)
        await let_run()
        crew.submit(command(2))
        await asyncio.sleep(0.5)
        disk.settle(True)
        await asyncio.sleep(0.5)
        assert crew.loads[0].obeyed == [2]
        assert set(crew.withheld) == {1}


async def test_of_commands_that_queue_behind_a_slow_one_only_the_latest_is_sent() -> None:
    async with Crew([FakeLoad(0, perform_s=3)]) as crew:
        for number in (1, 2, 3, 4):
            crew.submit(command(number, verb=Verb.TRIM, raises=False))
            await let_run()
        await asyncio.sleep(7)
        assert crew.loads[0].obeyed == [1, 4]
        assert set(crew.withheld) == {2, 3}
        assert {r.command_id for r in crew.reports if r.outcome is Outcome.ACKNOWLEDGED} == {1, 4}


async def test_a_read_in_flight_is_abandoned_for_a_command() -> None:
    async with Crew([FakeLoad(0, read_s=None)]) as crew:
        await asyncio.sleep(3)
        assert len(crew.loads[0].reads) == 1
        crew.submit(command(1))
        await asyncio.sleep(0.01)
        assert crew.loads[0].obeyed == [1]
        assert crew.loads[0].reads_abandoned == 1
        assert crew.telemetry == []


async def test_a_command_does_not_wait_for_its_miners_turn_to_be_read() -> None:
    hung = [FakeLoad(miner, read_s=None) for miner in range(40)]
    async with Crew([*hung, FakeLoad(40)], concurrency=2) as crew:  # one read slot, given back 7 times a second
        await asyncio.sleep(4)
        assert crew.loads[40].reads == []
        crew.submit(command(1, miner=40))
        await asyncio.sleep(0.01)
        assert crew.loads[40].obeyed == [1]


async def test_miners_that_hang_do_not_keep_the_others_from_being_read() -> None:
    loads = [FakeLoad(miner, read_s=None if miner < 40 else 0.05) for miner in range(60)]
    async with Crew(loads, concurrency=16) as crew:
        await asyncio.sleep(35)
        assert all(len(load.reads) >= 3 for load in crew.loads[40:]), "a read every 10 s, as in health"


async def test_a_read_asked_for_early_comes_at_once_and_moves_no_turn() -> None:
    async with Crew([FakeLoad(0), FakeLoad(1), FakeLoad(2, read_s=None)], sweep_period_s=10) as crew:
        await asyncio.sleep(5)
        crew.actuator.read_soon((0, 2))
        await asyncio.sleep(0.01)
        assert crew.loads[0].reads == [0.0, 5.0]
        assert len(crew.loads[2].reads) == 1, "still at its first"
        await asyncio.sleep(6)
        assert [len(load.reads) for load in crew.loads] == [3, 2, 1]
        assert crew.loads[0].reads[2] == pytest.approx(10.0)


async def test_raises_that_hang_make_room_for_a_shed() -> None:
    loads = [FakeLoad(miner, perform_s=None if miner < 8 else 0.05) for miner in range(20)]
    async with Crew(loads, concurrency=8) as crew:
        crew.submit(*(command(miner + 1, miner, Verb.WAKE) for miner in range(8)))
        await asyncio.sleep(1)
        crew.submit(*(command(miner + 1, miner) for miner in range(8, 20)))
        await asyncio.sleep(0.5)
        assert all(load.obeyed for load in loads[8:])


async def test_a_lowering_command_overtakes_all_raises_that_wait_for_a_slot() -> None:
    loads = [FakeLoad(miner, perform_s=3) for miner in range(12)]
    async with Crew(loads, concurrency=1) as crew:
        crew.submit(*(command(number, miner=number, verb=Verb.WAKE) for number in range(1, 11)))
        await asyncio.sleep(1)
        crew.submit(command(11, miner=11), command(12, miner=10))  # one of another miner, one in place of its raise
        await asyncio.sleep(3)
        assert (loads[11].obeyed, loads[10].obeyed) == ([11], [12])
        lowered_at = [load.performed[0][0] for load in loads[10:]]
        raised_at = sorted(load.performed[0][0] for load in loads[:10] if load.performed)
        assert raised_at[0] < min(lowered_at), "the one that was under way"
        assert all(at > max(lowered_at) for at in raised_at[1:]), "the next raise follows the last lowering command"
        await asyncio.sleep(30)
        assert sum(len(load.obeyed) for load in loads) == 11, "no raise is forgotten"


async def test_no_sweep_starts_while_a_command_waits_for_a_slot() -> None:
    loads = [FakeLoad(miner, perform_s=4) for miner in range(3)]
    async with Crew(loads, concurrency=1, sweep_period_s=1) as crew:
        await asyncio.sleep(5.2)
        crew.submit(command(1, miner=0, verb=Verb.WAKE), command(2, miner=1, verb=Verb.WAKE))
        await let_run()
        reads = len(loads[2].reads)
        await asyncio.sleep(3.5)  # the second waits behind the first
        assert len(loads[2].reads) == reads
        await asyncio.sleep(1.0)  # the second has its slot: reads may go on
        assert len(loads[2].reads) > reads


async def test_a_command_for_a_miner_whose_sweep_was_held_back_is_delivered() -> None:
    loads = [FakeLoad(0, perform_s=4), FakeLoad(1, perform_s=4), FakeLoad(2)]
    async with Crew(loads, concurrency=1, sweep_period_s=1) as crew:
        await asyncio.sleep(5.2)
        crew.submit(command(1, miner=0, verb=Verb.WAKE), command(2, miner=1, verb=Verb.WAKE))
        await asyncio.sleep(2)  # miner 2 is due for its sweep, which rests
        crew.submit(command(3, miner=2))
        await asyncio.sleep(10)
        assert loads[2].obeyed == [3]


async def test_a_command_queued_behind_a_hung_one_does_not_stop_the_sweeps_of_others() -> None:
    loads = [FakeLoad(0, perform_s=None), FakeLoad(1)]
    async with Crew(loads, sweep_period_s=1) as crew:
        crew.submit(command(1, miner=0))
        await let_run()
        crew.submit(command(2, miner=0))
        await asyncio.sleep(5)
        assert len(loads[1].reads) >= 4


async def test_a_hung_miner_does_not_hold_up_commands_to_others() -> None:
    loads = [FakeLoad(0, read_s=None, perform_s=None), FakeLoad(1), FakeLoad(2)]
    async with Crew(loads) as crew:
        await asyncio.sleep(4)
        crew.submit(command(1, 0), command(2, 1), command(3, 2))
        await asyncio.sleep(0.01)
        assert loads[1].obeyed == [2]
        assert loads[2].obeyed == [3]
        crew.submit(command(4, 1, Verb.WAKE))
        await asyncio.sleep(1)
        assert loads[1].obeyed == [2, 4]


async def test_miners_that_hang_hardly_delay_a_shed_of_the_others() -> None:
    loads = [FakeLoad(miner, perform_s=None if miner < 40 else 0.05) for miner in range(60)]
    async with Crew(loads, concurrency=8) as crew:
        began = asyncio.get_running_loop().time()
        crew.submit(*(command(miner + 1, miner) for miner in range(60)))
        await asyncio.sleep(2)
        last = max(at for load in loads for at, _ in load.performed)
        assert all(load.obeyed for load in loads)
        assert last - began < 1.0, "40 that hang, 8 at a time, and each holds its slot for a moment only"


async def test_a_raise_keeps_its_slot_for_as_long_as_it_takes() -> None:
    loads = [FakeLoad(miner, perform_s=1) for miner in range(6)]
    async with Crew(loads, concurrency=2) as crew:
        crew.submit(*(command(miner + 1, miner, Verb.WAKE) for miner in range(6)))
        for _ in range(12):
            await asyncio.sleep(0.25)
            assert sum(load.busy for load in loads) <= 2
        await asyncio.sleep(1)
        assert [load.obeyed for load in loads] == [[n] for n in range(1, 7)]


async def test_a_command_is_followed_by_a_read_when_its_effect_should_show() -> None:
    async with Crew([FakeLoad(0)], settle_s=2, sweep_period_s=10) as crew:
        await asyncio.sleep(1)
        crew.submit(command(1))
        await asyncio.sleep(2.5)
        read_at = crew.loads[0].reads[-1]
        assert read_at == pytest.approx(1 + 0.1 + 2, abs=0.01)
        await asyncio.sleep(12)
        assert crew.loads[0].reads[-1] > read_at + 9


async def test_a_miner_that_is_commanded_again_and_again_is_still_swept() -> None:
    async with Crew([FakeLoad(0)], settle_s=5, sweep_period_s=3) as crew:
        for number in range(1, 30):
            crew.submit(command(number, verb=Verb.TRIM, raises=False))
            await asyncio.sleep(1)
        assert len(crew.loads[0].reads) >= 8
        assert len(crew.telemetry) >= 8


async def test_the_first_sweep_of_the_whole_fleet_is_over_within_two_seconds() -> None:
    async with Crew([FakeLoad(miner) for miner in range(50)], sweep_period_s=30) as crew:
        await asyncio.sleep(2.2)
        assert {reading.miner for reading in crew.telemetry} == set(range(50))


async def test_closing_ends_every_task_and_closes_every_load() -> None:
    loads = [FakeLoad(0, read_s=None), FakeLoad(1, perform_s=None), FakeLoad(2)]
    before = asyncio.all_tasks()
    async with Crew(loads) as crew:
        await asyncio.sleep(3)
        crew.submit(command(1, 1), command(2, 2, Verb.WAKE), durable=FakeDurable(written=None))
        await asyncio.sleep(1)
    await let_run()
    assert all(load.closed for load in loads)
    assert asyncio.all_tasks() == before


async def test_a_command_on_its_way_when_we_stop_comes_to_its_end_and_one_that_waits_behind_it_is_not_begun() -> None:
    load = FakeLoad(0, perform_s=2)
    async with Crew([load]) as crew:
        crew.submit(command(1))
        await asyncio.sleep(1)
        crew.submit(command(2))
        await let_run()
    assert load.obeyed == [1]
    assert [report.command_id for report in crew.reports if report.outcome is Outcome.ACKNOWLEDGED] == [1]
    assert load.closed
