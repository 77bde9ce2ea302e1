"""What `status` and `explain` are made of: payloads that stay JSON whatever is unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.fleet import Outcome, Verdict
from controller.domain.plan import Decision, Event, EventLevel, Snapshot, VerdictReport
from controller.runtime.views import EVENTS_SHOWN, Views
from tests.core.conftest import WALL, Kit
from tests.runtime.fakes import command


def after_one_cycle(state: State | None = None, **changes: object) -> tuple[Views, Decision]:
    """Views of a site of four after one cycle; `changes` replace parts of the decision."""
    facts, policy = Kit.fleet(), Kit.policy()
    engine = Engine(facts, policy)
    state, decision = engine.step(state or Kit.seen_state(facts, [True, True, False, False]), Snapshot(WALL, {}), 1.0)
    decision = replace(decision, **changes)  # type: ignore[arg-type]  # any field of it
    views = Views(facts, policy, {"curtaild": "1"})
    views.take_cycle(state, decision)
    return views, decision


def test_before_the_first_cycle_both_pages_say_so() -> None:
    views = Views(Kit.fleet(), Kit.policy(), {})
    with pytest.raises(LookupError, match="no cycle has run yet"):
        views.status()
    with pytest.raises(LookupError, match="no cycle has run yet"):
        views.explain("m0")


def test_a_status_of_a_site_that_knows_nothing_yet_is_json_with_nulls_and_no_zeros() -> None:
    facts = Kit.fleet()
    views, _ = after_one_cycle(State.fresh(facts, 0.0))
    page = json.loads(json.dumps(views.status(), allow_nan=False))
    assert page["figures"]["measured_kw"] is None
    assert page["figures"]["surplus_kw"] is None
    assert page["cycle_ms"] == {"p50": None, "p99": None, "max": None}
    assert sum(page["miners"].values()) == 4
    explained = json.loads(json.dumps(views.explain("m0"), allow_nan=False))
    assert (explained["power_kw"], explained["level"], explained["since_s"]) == (None, None, None)


def test_status_shows_the_newest_events_named_by_miner_and_the_cycles_timings() -> None:
    views, _ = after_one_cycle(events=(Event("miner_stuck", EventLevel.WARNING, "sits there", "m2"),))
    views.take_timing(0.004)
    views.take_timing(0.008)
    page = views.status()
    assert page["events"] == [
        {"at": "2027-01-15T08:00:00.000Z", "name": "miner_stuck", "level": "warning", "text": "m2: sits there"}
    ]
    assert page["cycle_ms"] == {"p50": 6.0, "p99": 7.96, "max": 8.0}
    for number in range(EVENTS_SHOWN + 5):
        views.take_event(WALL + number, Event("x", EventLevel.INFO, str(number)))
    shown = views.status()["events"]
    assert isinstance(shown, list)
    assert shown[0]["text"] == "5"
    assert len(shown) == EVENTS_SHOWN


def test_status_names_who_is_in_quarantine() -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    state.fleet.verdict[3] = Verdict.QUARANTINED
    state.fleet.quarantined_until[3] = 90.0
    state.fleet.quarantines[3] = 2
    views, _ = after_one_cycle(state)
    assert views.status()["quarantined"] == ["m3"]
    assert views.explain("m3")["quarantine"] == {"for_s": 89.0, "times": 2}
    assert views.explain("m0")["quarantine"] is None


def test_explain_follows_a_command_from_its_outcome_to_its_verdict() -> None:
    first = command(7, 1)
    views, decision = after_one_cycle(commands=(first,))
    views.take_report(Kit.report(first, Outcome.APPLIED, 1.2))
    assert views.state is not None
    verdict = VerdictReport(7, 1, "sleep", "settled", 3.0)
    views.take_cycle(views.state, replace(decision, commands=(), verdicts=(verdict,)))
    shown = views.explain("m1")["commands"]
    assert isinstance(shown, list)
    assert [(c["id"], c["verb"], c["outcome"], c["verdict"]) for c in shown] == [(7, "sleep", "applied", "settled")]
    assert views.explain("m0")["commands"] == []


def test_merit_counts_who_is_better_and_an_unknown_miner_is_named() -> None:
    views, _ = after_one_cycle()
    assert [views.explain(f"m{index}")["merit"] for index in range(4)] == [1, 2, 3, 4]
    with pytest.raises(KeyError, match="m9"):
        views.explain("m9")
