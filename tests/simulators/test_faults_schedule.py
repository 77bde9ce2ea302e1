"""Switching faults: one set per target, and schedules that do it by the clock."""

import pytest

from simulators.faults import Fault, FaultEvent, FaultSchedule, FaultSet


def test_faults_combine_and_go_one_by_one() -> None:
    faults = FaultSet()
    faults.on(Fault.DELAY, 0.2)
    faults.on(Fault.TRUNCATE)
    assert set(faults) == {Fault.DELAY, Fault.TRUNCATE}
    faults.off(Fault.DELAY)
    assert Fault.DELAY not in faults
    assert Fault.TRUNCATE in faults
    faults.clear()
    assert len(faults) == 0


def test_a_fault_with_a_time_has_a_default_and_takes_another() -> None:
    faults = FaultSet()
    faults.on(Fault.DELAY)
    assert faults.seconds(Fault.DELAY) > 0
    faults.on(Fault.DELAY, 0.5)
    assert faults.seconds(Fault.DELAY) == 0.5
    assert faults.seconds(Fault.DRIP) == 0.0
    with pytest.raises(ValueError, match="negative"):
        faults.on(Fault.DELAY, -1.0)


def test_listeners_hear_changes_and_nothing_else() -> None:
    faults, heard = FaultSet(), list[tuple[Fault, bool]]()
    faults.listen(lambda fault, is_on: heard.append((fault, is_on)))
    faults.off(Fault.REFUSE)
    faults.on(Fault.REFUSE)
    faults.off(Fault.REFUSE)
    assert heard == [(Fault.REFUSE, True), (Fault.REFUSE, False)]


def test_a_stale_session_is_a_moment_not_a_state() -> None:
    faults, heard = FaultSet(), list[Fault]()
    faults.listen(lambda fault, is_on: heard.append(fault))
    faults.on(Fault.STALE_SESSION)
    assert Fault.STALE_SESSION not in faults
    assert heard == [Fault.STALE_SESSION]


def test_a_schedule_switches_on_and_off_by_the_clock() -> None:
    targets = [FaultSet(), FaultSet()]
    schedule = FaultSchedule([FaultEvent(10.0, 1, Fault.HANG, 5.0), FaultEvent(12.0, 0, Fault.DELAY, 1.0, 0.7)])
    seen = []
    for now_s in (0.0, 10.0, 12.5, 13.0, 15.0):
        schedule.apply(targets, now_s)
        seen.append((set(targets[0]), set(targets[1]), targets[0].seconds(Fault.DELAY)))
    assert seen == [
        (set(), set(), 0.0),
        (set(), {Fault.HANG}, 0.0),
        ({Fault.DELAY}, {Fault.HANG}, 0.7),
        (set(), {Fault.HANG}, 0.0),
        (set(), set(), 0.0),
    ]


def test_overlapping_events_end_with_the_last_of_them() -> None:
    target = FaultSet()
    schedule = FaultSchedule([FaultEvent(0.0, 0, Fault.HANG, 10.0), FaultEvent(5.0, 0, Fault.HANG, 10.0)])
    on = []
    for now_s in (1.0, 6.0, 11.0, 16.0):
        schedule.apply([target], now_s)
        on.append(Fault.HANG in target)
    assert on == [True, True, True, False]


def test_a_schedule_leaves_alone_what_somebody_else_switched_on() -> None:
    target = FaultSet()
    target.on(Fault.GARBAGE)
    schedule = FaultSchedule([FaultEvent(0.0, 0, Fault.HANG, 1.0)])
    schedule.apply([target], 0.5)
    schedule.apply([target], 2.0)
    assert set(target) == {Fault.GARBAGE}


def test_a_scheduled_moment_is_given_once_however_late() -> None:
    target, heard = FaultSet(), list[Fault]()
    target.listen(lambda fault, is_on: heard.append(fault))
    schedule = FaultSchedule([FaultEvent(1.0, 0, Fault.STALE_SESSION, 0.0)])
    for now_s in (0.0, 7.0, 8.0):
        schedule.apply([target], now_s)
    assert heard == [Fault.STALE_SESSION]


def test_random_schedules_are_reproducible_and_keep_to_their_bounds() -> None:
    def draw(seed: int) -> tuple[FaultEvent, ...]:
        return FaultSchedule.random(
            seed=seed,
            targets=50,
            span_s=3600.0,
            faults_per_target_hour=4.0,
            kinds=[Fault.HANG, Fault.REFUSE],
            mean_duration_s=30.0,
        ).events

    events = draw(1)
    assert events == draw(1)
    assert events != draw(2)
    assert 120 < len(events) < 280
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    assert all(0 <= event.at_s < 3600 and 0 <= event.target < 50 for event in events)
    assert {event.fault for event in events} == {Fault.HANG, Fault.REFUSE}


def test_a_random_schedule_without_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="no kinds"):
        FaultSchedule.random(seed=1, targets=1, span_s=1.0, faults_per_target_hour=1.0, kinds=[], mean_duration_s=1.0)
