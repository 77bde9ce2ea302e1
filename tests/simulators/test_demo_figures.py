"""The demo's arithmetic on hand-made runs whose figures are known."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest

from simulators.asic.models import Family
from simulators.demo.figures import Fall, Figures, figures_of, latency_of, limits_of, report_of
from simulators.demo.promises import Expected, Promise, judge, kept
from simulators.demo.recording import Change, CommandRecord, OrderRecord, Recording
from simulators.scenario import DEMO
from tests.simulators.demo_recordings import FAMILY_SHARES, cap_order, recording_of

RATED_W = DEMO.fleet.rated_w()
FREE_FALL = Fall(w_per_s=5_000.0, w_per_15s=1e9)
EXPECTED = Expected(must=["m-060", "m-061"], may=["m-058"])


def good_load(t_s: float) -> float:
    """A load that follows its cap 2 % of rated below it and keeps moving."""
    return good_cap(t_s) - 0.02 * RATED_W


def good_cap(t_s: float) -> float:
    """A surplus that steps between 56 and 62 % of rated every 15 s."""
    return (0.56 if int(t_s // 15.0) % 2 else 0.62) * RATED_W


def reported(recording: Recording, planned: int = 0, figures: Figures | None = None) -> dict[str, Any]:
    extra = {"dispatches_planned": planned}
    return report_of(recording, figures or figures_of(recording, DEMO), DEMO, extra)


def broken(recording: Recording, planned: int = 0, figures: Figures | None = None) -> list[str]:
    """Names of the promises a run broke."""
    promises = judge(reported(recording, planned, figures), EXPECTED)
    return [promise.name for promise in promises if promise.kept is False]


@functools.cache
def good_figures() -> Figures:
    """Of the good load: its oracle takes a second, and what the daemon says of itself is no part of it."""
    return figures_of(recording_of(seconds=180.0, load_w=good_load, cap_w=good_cap), DEMO)


def test_a_run_that_follows_its_surplus_keeps_every_promise() -> None:
    recording = recording_of(
        seconds=180.0, load_w=good_load, cap_w=good_cap, orders=[], quarantined=["m-060", "m-061", "m-058"]
    )
    promises = judge(reported(recording), EXPECTED)
    assert kept(promises), promises
    assert all(promise.kept for promise in promises), "180 s are enough for every promise"


def test_a_load_above_the_cap_for_longer_than_physics_allows_is_a_net_violation() -> None:
    def too_much(t_s: float) -> float:
        return good_cap(t_s) + (0.10 * RATED_W if 100.0 <= t_s < 112.0 else -0.02 * RATED_W)

    recording = recording_of(seconds=180.0, load_w=too_much, cap_w=good_cap, quarantined=EXPECTED.must)
    report = reported(recording)
    assert report["longest_cap_violation_s"]["raw"] == pytest.approx(12.0, abs=0.2)
    assert report["longest_cap_violation_s"]["net"] > 2.0
    assert broken(recording) == ["time above the cap"]


def test_a_load_that_comes_down_within_the_horizon_is_a_raw_violation_only() -> None:
    def late(t_s: float) -> float:
        return max(good_load(t_s), good_load(t_s - 5.0) if t_s >= 5.0 else 0.0)

    report = reported(recording_of(seconds=180.0, load_w=late, cap_w=good_cap, quarantined=EXPECTED.must))
    assert report["longest_cap_violation_s"]["raw"] == pytest.approx(5.0, abs=0.2)
    assert report["longest_cap_violation_s"]["net"] == 0.0


def test_a_load_that_leaves_the_surplus_to_waste_is_found_out() -> None:
    def lazy(t_s: float) -> float:
        return good_load(t_s) * 0.6

    recording = recording_of(seconds=180.0, load_w=lazy, cap_w=good_cap, quarantined=EXPECTED.must)
    assert broken(recording) == ["surplus absorbed"]


def test_energy_above_the_cap_is_not_absorbed_surplus() -> None:
    recording = recording_of(seconds=60.0, load_w=lambda _: 200_000.0, cap_w=lambda _: 120_000.0)
    figures = figures_of(recording, DEMO)
    assert figures.surplus_kwh == pytest.approx(2.0, rel=0.01)
    assert figures.absorbed_kwh == pytest.approx(2.0, rel=0.01)
    assert figures.absorbed_pct == pytest.approx(100.0, abs=0.01)


@pytest.mark.parametrize("seconds", [10.0, 10.9, 61.3])
def test_a_perfect_run_of_any_length_absorbs_no_more_than_is_possible(seconds: float) -> None:
    start_w = 0.5 * RATED_W
    recording = recording_of(seconds=seconds, load_w=lambda _: start_w, cap_w=lambda _: start_w)
    figures = figures_of(recording, DEMO)
    assert figures.absorbable_kwh is not None
    assert figures.absorbed_kwh == pytest.approx(figures.absorbable_kwh, rel=0.015)
    assert figures.absorbed_kwh <= figures.absorbable_kwh * 1.001


def test_no_surplus_at_all_gives_no_percentage() -> None:
    figures = figures_of(recording_of(seconds=20.0, load_w=lambda _: 9_000.0, cap_w=lambda _: 0.0), DEMO)
    assert figures.absorbed_pct is None


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"quarantined": ["m-060"]}, "liar, never-wakers"),
        ({"quarantined": ["m-060", "m-061", "m-007"]}, "well-behaved miners"),
        ({"p99_ms": 100.0}, "control cycle, p99"),
        ({"p99_ms": None}, "control cycle, p99"),
        ({"exit_code": -9}, "daemon's exit"),
        ({"load_w": lambda t_s: 0.55 * RATED_W}, "moves of the load"),
    ],
)
def test_each_promise_breaks_alone(change: dict[str, Any], name: str) -> None:
    given: dict[str, Any] = {"load_w": good_load, "cap_w": good_cap, "quarantined": EXPECTED.must}
    figures = None if "load_w" in change else good_figures()
    assert broken(recording_of(seconds=180.0, **{**given, **change}), figures=figures) == [name]


def test_a_dispatch_that_was_never_reached_breaks_its_promise() -> None:
    order = cap_order(0.7 * RATED_W, 60.0, 20.0, RECEIVED=60.0, ACCEPTED=60.1, EXPIRED=80.0)
    recording = recording_of(seconds=180.0, load_w=good_load, cap_w=good_cap, orders=[order], quarantined=EXPECTED.must)
    assert broken(recording, planned=1) == ["dispatches"]


def test_a_short_run_is_not_judged_by_what_it_had_no_time_for() -> None:
    recording = recording_of(seconds=30.0, load_w=lambda _: 0.3 * RATED_W, cap_w=good_cap)
    promises = {promise.name: promise for promise in judge(reported(recording, planned=2), EXPECTED)}
    unjudged = [name for name, promise in promises.items() if promise.kept is None]
    assert unjudged == ["surplus absorbed", "moves of the load", "liar, never-wakers", "dispatches"]
    assert kept(promises.values())
    assert "from 150 s on" in promises["liar, never-wakers"].got


def test_a_broken_promise_makes_the_run_a_failure() -> None:
    assert not kept([Promise("a", "", "", kept=True), Promise("b", "", "", kept=False)])


def test_a_cap_order_grants_its_ramp_and_then_binds() -> None:
    order = cap_order(100_000.0, at_s=10.0, for_s=40.0)
    truth = recording_of(seconds=60.0, load_w=lambda _: 200_000.0, cap_w=lambda _: 220_000.0).truth
    limits = limits_of(truth, [order], FREE_FALL)
    at = {t_s: float(limits.kept_w[round(t_s * 10)]) for t_s in (9.0, 10.0, 20.0, 30.0, 49.0, 50.0)}
    assert at == pytest.approx(
        {9.0: 220e3, 10.0: 200e3, 20.0: 150e3, 30.0: 100e3, 49.0: 100e3, 50.0: 220e3}, abs=1_000.0
    )


def test_what_fell_in_the_last_15_s_counts_against_the_ordered_ramp() -> None:
    """The surplus took the load down just before the order: the site's 15 s limit lets it wait."""
    order = cap_order(60_000.0, at_s=10.0, for_s=40.0)

    def shed_before(t_s: float) -> float:
        return 300_000.0 if t_s < 5.0 else 180_000.0

    truth = recording_of(seconds=60.0, load_w=shed_before, cap_w=lambda _: 400_000.0).truth
    kept_w = limits_of(truth, [order], Fall(w_per_s=10_000.0, w_per_15s=130_000.0)).kept_w
    at = {t_s: float(kept_w[round(t_s * 10)]) for t_s in (10.0, 11.0, 19.0, 25.0, 35.0)}
    assert at == pytest.approx({10.0: 180e3, 11.0: 170e3, 19.0: 170e3, 25.0: 120e3, 35.0: 60e3}, abs=11_000.0)


def test_a_load_that_ignores_a_cap_order_violates_although_the_surplus_would_allow_it() -> None:
    order = cap_order(0.16 * RATED_W, at_s=60.0, for_s=40.0)
    recording = recording_of(seconds=180.0, load_w=good_load, cap_w=good_cap, orders=[order], quarantined=EXPECTED.must)
    assert "time above the cap" in broken(recording, planned=1)


def test_a_target_order_limits_what_is_absorbable_and_nothing_else() -> None:
    target = replace(cap_order(100_000.0, at_s=0.0, for_s=60.0), kind="target")
    truth = recording_of(seconds=60.0, load_w=lambda _: 100_000.0, cap_w=lambda _: 220_000.0).truth
    limits = limits_of(truth, [target], FREE_FALL)
    assert limits.kept_w.min() == pytest.approx(220_000.0)
    assert limits.absorbable_w[:-1].max() == pytest.approx(100_000.0)


def test_a_clamped_order_binds_at_what_the_site_answered() -> None:
    clamped = OrderRecord("cap", 1_000.0, 9_000.0, 0.0, 60.0, {"RECEIVED": 0.0, "CLAMPED": 0.0})
    truth = recording_of(seconds=60.0, load_w=lambda _: 9_000.0, cap_w=lambda _: 220_000.0).truth
    assert limits_of(truth, [clamped], FREE_FALL).kept_w[:-1].max() == pytest.approx(9_000.0)


def test_a_rejected_order_binds_nothing() -> None:
    refused = cap_order(1_000.0, 0.0, 60.0, RECEIVED=0.1, REJECTED=0.1)
    truth = recording_of(seconds=60.0, load_w=lambda _: 9_000.0, cap_w=lambda _: 220_000.0).truth
    assert limits_of(truth, [refused], FREE_FALL).kept_w.min() == pytest.approx(220_000.0)


def latencies(changes: list[Change], commands: list[CommandRecord], load_w: float) -> tuple[list[float], int]:
    truth = recording_of(seconds=60.0, load_w=lambda _: load_w, cap_w=lambda _: 220_000.0).truth
    found = latency_of(changes, commands, truth, [], DEMO)
    values = found.latency_ms
    return ([] if values is None else [round(values.p50), round(values.max)]), found.unanswered


def test_a_fall_below_the_load_is_matched_with_the_first_command_downwards() -> None:
    fall = Change(10.0, 220_000.0, 180_000.0)
    commands = [CommandRecord(10.1, raises=True), CommandRecord(10.4, raises=False), CommandRecord(10.9, raises=False)]
    assert latencies([fall], commands, load_w=215_000.0) == ([400, 400], 0)


def test_a_fall_that_leaves_the_load_under_the_cap_asks_for_nothing() -> None:
    fall = Change(10.0, 220_000.0, 180_000.0)
    assert latencies([fall], [CommandRecord(10.4, raises=False)], load_w=150_000.0) == ([], 0)


def test_a_rise_with_room_is_matched_upwards_and_one_without_asks_for_nothing() -> None:
    rise = Change(10.0, 180_000.0, 220_000.0)
    assert latencies([rise], [CommandRecord(10.6, raises=True)], load_w=175_000.0) == ([600, 600], 0)
    assert latencies([rise], [CommandRecord(10.6, raises=True)], load_w=216_000.0) == ([], 0)


def test_a_change_nobody_answers_is_counted_and_not_averaged() -> None:
    falls = [Change(10.0, 220_000.0, 200_000.0), Change(20.0, 200_000.0, 180_000.0)]
    assert latencies(falls, [CommandRecord(20.2, raises=False)], load_w=215_000.0) == ([200, 200], 1)


def test_the_report_has_every_field_it_promises() -> None:
    recording = recording_of(seconds=60.0, load_w=good_load, cap_w=good_cap, orders=[cap_order(1e5, 10.0, 20.0)])
    report = reported(recording, planned=1)
    assert report["duration_s"] == 60.0 and report["miners"] == 120
    assert report["dispatches"] == {"sent": 1, "accepted": 1, "rejected": 0, "reached": 1}
    assert report["daemon"]["cpu_pct"] == pytest.approx(10.0)
    luxos, whatsminer = report["families"]["LuxOS"], report["families"]["WhatsMiner V2"]
    assert whatsminer["verdicts"] == {"total": 3, "settled": 3}
    assert luxos["verdicts"] == {}, "the daemon counted nothing of it"
    mean_kw = float(recording.truth.load_w.mean()) / 1000.0
    assert luxos["mean_kw"] == pytest.approx(FAMILY_SHARES[Family.LUXOS] * mean_kw, rel=0.01)
    assert sum(family["miners"] for family in report["families"].values()) == 120
    for field in ("surplus_kwh", "absorbed_kwh", "absorbed_pct", "absorbable_pct", "commands", "verdicts", "moves"):
        assert report[field] is not None, field
    assert set(report["signal_to_command_ms"]) >= {"p50", "p95", "max"}
    assert set(report["daemon"]["cycle_ms"]) == {"p50", "p99", "max"}
