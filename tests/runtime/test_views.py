"""What `status` and `explain` are made of: payloads that stay JSON whatever is unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.commands.status import BALANCE
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.command import RESTORE_COMMAND_ID, CommandReport, Outcome
from controller.domain.fleet import Condition, Verdict, build_fleet
from controller.domain.plan import Decision, Event, EventLevel, InputHealth, InputState, Snapshot, VerdictReport
from controller.runtime.views import EVENTS_SHOWN, Views
from tests.core.builders import WALL
from tests.core.conftest import Kit
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
    views, _ = after_one_cycle()
    views.take_event(WALL, Event("miner_stuck", EventLevel.WARNING, "sits there", "m2"))
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


def test_the_measured_watts_and_the_setpoint_are_accounted_for_to_the_last_one() -> None:
    facts, policy = Kit.fleet(), Kit.policy()
    state = Kit.seen_state(facts, [True, True, False, True])
    state.fleet.condition[1] = Condition.UNREACHABLE
    state.fleet.verdict[3] = Verdict.QUARANTINED
    state.fleet.quarantined_until[3] = 90.0
    state, decision = Engine(facts, policy).step(state, Snapshot(WALL, {}), 1.0)
    state.offset_w = 1000.0
    views = Views(facts, policy, {})
    views.take_cycle(state, replace(decision, figures=replace(decision.figures, measured_w=25_000.0)))
    page = views.status()
    balance, figures, setpoint = page["balance"], page["figures"], decision.setpoint
    assert isinstance(balance, dict)
    assert isinstance(figures, dict)
    assert balance.pop("measured_kw") == 25.0
    assert sum(balance.values()) == pytest.approx(25.0, abs=0.01)
    expected_kw = decision.expected_power_w / 1000.0
    for name, row in (("hashing", 0), ("unreachable", 1), ("asleep", 2), ("quarantined", 3)):
        assert balance[f"{name}_kw"] == pytest.approx(float(expected_kw[row]), abs=0.01)
    total_kw = figures["allocated_kw"] + figures["unallocated_kw"]
    assert total_kw == pytest.approx(setpoint.power_w / 1000.0, abs=0.01)


def test_every_state_a_miner_can_be_in_has_its_place_in_the_balance_and_words_on_the_page() -> None:
    views, decision = after_one_cycle()
    balance = views.status()["balance"]
    assert isinstance(balance, dict)
    states = {name.removesuffix("_kw") for name in balance} - {"measured"}
    assert set(decision.counts) - {"foreign_sleeper"} <= states
    assert states == set(BALANCE)


def test_inputs_name_the_meters_they_come_from() -> None:
    inputs = (
        InputHealth("plant", InputState.GOOD, "fresh", 0.4),
        InputHealth("dispatcher", InputState.HOLD, "-", None),
    )
    views, _ = after_one_cycle(inputs=inputs)
    shown = views.status()["inputs"]
    assert isinstance(shown, list)
    assert [(entry["meters"], entry["age_s"]) for entry in shown] == [(["m"], 0.4), ([], None)]


def test_explain_says_how_full_the_feeder_is_and_that_nothing_is_planned_for_a_miner_nobody_has_read() -> None:
    views, decision = after_one_cycle()
    page, facts = views.explain("m0"), Kit.fleet()
    mine = facts.feeder == facts.feeder[0]
    load_kw = float(decision.expected_power_w[mine].sum()) / 1000.0
    rating_kw = float(facts.feeder_rating_w[facts.feeder[0]]) / 1000.0
    assert page["feeder_kw"] == pytest.approx(load_kw, abs=0.001)
    assert page["feeder_room_kw"] == pytest.approx(rating_kw - load_kw, abs=0.001)
    unread, _ = after_one_cycle(State.fresh(facts, 0.0))
    assert (unread.explain("m0")["planned"], unread.explain("m0")["expected_kw"]) == ("nothing yet", None)


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
    assert (shown[0]["level"], shown[0]["reason"], shown[0]["ago_s"]) == (None, "test", 0.0)


def test_a_restore_stands_among_the_commands_with_what_became_of_it() -> None:
    views, _ = after_one_cycle()
    for prior, outcome in (("old", Outcome.REFUSED), ("default", Outcome.APPLIED)):
        views.take_restore(2, prior, WALL - 3.0, "ann, uid 1000")
        views.take_report(CommandReport(RESTORE_COMMAND_ID, 2, outcome, 1.0, 1.2, "as it says"))
    shown = views.explain("m2")["commands"]
    assert isinstance(shown, list)
    assert [(c["verb"], c["level"], c["outcome"]) for c in shown] == [
        ("restore", "old", "refused"),
        ("restore", "default", "applied"),
    ]
    assert (shown[1]["ago_s"], shown[1]["detail"], shown[1]["reason"]) == (3.0, "as it says", "ann, uid 1000")


def test_commands_outcomes_and_verdicts_are_counted_by_family() -> None:
    one = Kit.fleet()
    units = tuple(replace(unit, family="A" if row < 3 else "B") for row, unit in enumerate(one.units))
    facts = build_fleet(units, one.feeder_names, (1_000_000,))
    views = Views(facts, Kit.policy(), {})
    _, decision = after_one_cycle()
    sent = (command(7, 1), command(8, 3))
    verdicts = (VerdictReport(7, 1, "sleep", "settled", 3.0), VerdictReport(6, 0, "wake", "stuck", 3.0))
    views.take_cycle(Kit.seen_state(facts, [True] * 4), replace(decision, commands=sent, verdicts=verdicts))
    views.take_report(Kit.report(sent[0], Outcome.APPLIED, 1.2))
    assert views.status()["families"] == {
        "A": {
            "miners": 3,
            "commands": {"sleep": 1},
            "outcomes": {"applied": 1},
            "verdicts": {"settled": 1, "stuck": 1},
        },
        "B": {"miners": 1, "commands": {"sleep": 1}, "outcomes": {}, "verdicts": {}},
    }


def test_an_estimate_is_shown_with_its_error_and_a_miners_own_word_without() -> None:
    facts = Kit.fleet(odd={1: {"trims": False, "reports_power": False}})
    site = Kit.site(facts=facts)
    site.cycles(2)
    views = Views(facts, site.engine.policy, {})
    views.take_cycle(site.state, site.decisions[-1])
    assert (views.explain("m0")["power_kw"], views.explain("m0")["estimate_error_kw"]) == (3.5, None)
    assert (views.explain("m1")["power_kw"], views.explain("m1")["estimate_error_kw"]) == (3.5, 0.35)
    figures = views.status()["figures"]
    assert isinstance(figures, dict)
    assert figures["expected_error_kw"] == 0.35


def test_a_feeder_with_a_meter_says_what_it_shows_and_proves_and_a_blind_miner_whether_it_is_among_them() -> None:
    facts = Kit.fleet(
        odd={3: {"trims": False, "reports_power": False}}, feeders=(0, 0, 1, 1), feeder_rating_w=(9e4, 9e4)
    )
    site = Kit.site(facts=facts, hashing=[True] * 4, surplus_w=60_000)
    site.metered.add(1)
    site.cycles(20)
    views = Views(facts, site.engine.policy, {})
    site.spare_w = 9_500.0
    for decision in site.cycles(40):
        views.take_cycle(site.state, decision)
    (shown,) = json.loads(json.dumps(views.status(), allow_nan=False))["feeders"]
    assert (shown["name"], shown["verdict"], shown["unproved"], shown["excess_kw"]) == ("feeder-1", "proved", 0, 0.0)
    assert shown["load_kw"] == pytest.approx(shown["believed_kw"], abs=0.5)
    blind, sighted, elsewhere = (views.explain(f"m{row}") for row in (3, 2, 0))
    assert (blind["feeder_verdict"], blind["sleep_proved"], blind["caught"]) == ("proved", True, False)
    assert (sighted["feeder_verdict"], sighted["sleep_proved"]) == ("proved", None)
    assert (elsewhere["feeder_verdict"], elsewhere["feeder_metered_kw"]) == (None, None)


def test_a_miner_that_contradicts_the_inventory_is_named_and_what_gave_it_away_is_explained() -> None:
    site = Kit.site()
    site.strangers[1] = "what answers says Antminer S9"
    views = Views(site.facts, site.engine.policy, {})
    for decision in site.cycles(3):
        views.take_cycle(site.state, decision)
    assert views.status()["contradicting"] == ["m1"]
    page = views.explain("m1")
    assert (page["condition"], page["why"], page["planned"]) == ("contradicts", "contradicts", "left alone")
    assert "Antminer S9" in str(page["contradiction"])
    assert views.explain("m0")["contradiction"] is None
    site.strangers.clear()
    views.take_cycle(site.state, site.cycle())
    views.take_cycle(site.state, site.cycle())
    assert views.explain("m1")["contradiction"] is None
    assert views.status()["contradicting"] == []


def test_merit_counts_who_is_better_and_an_unknown_miner_is_named() -> None:
    views, _ = after_one_cycle()
    assert [views.explain(f"m{index}")["merit"] for index in range(4)] == [1, 2, 3, 4]
    assert views.explain("m0")["miners"] == 4
    with pytest.raises(KeyError, match="m9"):
        views.explain("m9")
