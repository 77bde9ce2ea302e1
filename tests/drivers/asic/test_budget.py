"""The budget of writes and restarts: a wake keeps room for its sleep, the grid is never kept waiting, a day is 24 h."""

from __future__ import annotations

import pytest

from drivers.asic.budget import DAY_S, Budget

T0 = 5_000_000.0  # loop seconds count from the machine's own start


def used(per_day: int, *times: float) -> Budget:
    budget = Budget(per_day)
    for at in times:
        budget.spend(at)
    return budget


@pytest.mark.parametrize(
    ("spent", "raises", "urgent", "goes"),
    [
        (0, False, False, True),
        (3, False, False, True),
        (4, False, False, False),
        (4, False, True, True),
        (9, False, True, True),
        (2, True, False, True),
        (3, True, False, False),  # the sleep that follows would have no room
        (4, True, False, False),
        (3, True, True, False),  # urgency lowers the load, it never raises it
    ],
)
def test_a_sleep_needs_one_a_wake_needs_two_and_an_urgent_sleep_none(
    spent: int, raises: bool, urgent: bool, goes: bool
) -> None:
    budget = used(4, *[T0] * spent)
    assert (budget.refusal(raises=raises, urgent=urgent, now=T0 + 1.0) is None) is goes


def test_a_refusal_says_why_and_when_there_is_room_again() -> None:
    budget = used(3, T0, T0 + 100.0, T0 + 200.0)
    sleep = budget.refusal(raises=False, urgent=False, now=T0 + 300.0)
    wake = budget.refusal(raises=True, urgent=False, now=T0 + 300.0)
    assert sleep is not None and wake is not None
    assert (sleep.again_at, wake.again_at) == (T0 + DAY_S, T0 + 100.0 + DAY_S)
    assert sleep.reason == "3 of 3 writes and restarts of the last 24 h are used up"


def test_again_at_is_the_first_second_with_room() -> None:
    budget = used(2, T0, T0 + 50.0)
    refusal = budget.refusal(raises=True, urgent=False, now=T0 + 60.0)
    assert refusal is not None and refusal.again_at is not None
    assert budget.refusal(raises=True, urgent=False, now=refusal.again_at - 0.001) is not None
    assert budget.refusal(raises=True, urgent=False, now=refusal.again_at) is None


def test_the_last_write_of_a_day_is_kept_for_a_sleep_and_says_so() -> None:
    refusal = used(2, T0).refusal(raises=True, urgent=False, now=T0)
    assert refusal is not None
    assert refusal.reason.endswith("the last one is kept for a sleep")


@pytest.mark.parametrize("per_day", [0, 1])
def test_a_budget_without_room_for_a_wake_and_its_sleep_never_wakes(per_day: int) -> None:
    refusal = Budget(per_day).refusal(raises=True, urgent=False, now=T0)
    assert refusal is not None
    assert refusal.again_at is None


def test_any_24_hours_count_not_a_calendar_day() -> None:
    """Two days' budgets never meet, wherever midnight lies."""
    budget = Budget(4)
    allowed = [at for at in range(0, int(3 * DAY_S), 600) if _tried(budget, float(at))]
    for first in allowed:
        assert sum(first <= at < first + DAY_S for at in allowed) <= 4


def _tried(budget: Budget, at: float) -> bool:
    if budget.refusal(raises=False, urgent=False, now=at) is not None:
        return False
    budget.spend(at)
    return True


def test_what_was_spent_before_a_restart_counts_a_whole_day_from_the_first_question() -> None:
    budget = Budget(3, spent=3)
    assert budget.spent(T0) == 3
    refusal = budget.refusal(raises=False, urgent=False, now=T0 + 10.0)
    assert refusal is not None
    assert refusal.again_at == T0 + DAY_S


def test_an_urgent_sleep_beyond_the_budget_is_counted_and_named() -> None:
    budget = used(2, T0, T0)
    assert budget.overdrawn(T0) == ""
    budget.spend(T0 + 1.0)
    assert budget.overdrawn(T0 + 1.0) == "write 3 of 2 in 24 h: the grid first"
    assert budget.overdrawn(T0 + 1.0 + DAY_S) == ""


@pytest.mark.parametrize(("per_day", "spent"), [(-1, 0), (1, -1)])
def test_a_negative_budget_is_refused(per_day: int, spent: int) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Budget(per_day, spent=spent)
