"""Every miner's own series: read with Prometheus' own parser, compared with the state they were written from."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.fleet import Condition, Fleet, MinerReading, Verdict, build_fleet
from controller.domain.plan import WHYS, Decision, Snapshot
from controller.domain.reasons import Why
from controller.runtime.explain import NO_PLAN
from controller.runtime.miner_metrics import FAMILIES, MinerMetrics
from tests.bench.plain_site import Bench, fleet_of, policy_of

STATUS_PAGE = Path(__file__).parents[2] / "docs" / "status.md"
SERIES_PER_MINER_MAX = 8

Series = dict[str, dict[str, tuple[dict[str, str], float]]]


def parsed(text: str) -> Series:
    """Family -> miner -> (labels, value). A miner twice in one family is a fault of the page."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and family.documentation
        into = found.setdefault(family.name.removeprefix("curtaild_miner_"), {})
        for sample in family.samples:
            miner = sample.labels["miner"]
            assert miner not in into, f"{family.name} has {miner} twice"
            into[miner] = (sample.labels, sample.value)
    return found


def page_of(facts: Fleet, state: State, decision: Decision) -> Series:
    writer = MinerMetrics(facts)
    writer.observe(state, decision)
    return parsed("".join(writer.slices()))


def values(series: Series, family: str) -> dict[str, float]:
    return {miner: value for miner, (_, value) in series[family].items()}


@pytest.fixture
def mixed() -> tuple[Fleet, State, Decision]:
    """Twelve miners, every second hashing; m0 tells no watts, m1 is estimated, m2 is silent, m3 was never read, m4 is
    in quarantine with three failed attempts."""
    facts, policy = fleet_of(12), policy_of(12)
    engine = Engine(facts, policy)
    state = engine.fresh_state(0.0)
    bench = Bench(12)
    bench.now = 1.0
    seen = [bench.reading(miner) for miner in range(12) if miner != 3]
    seen[0] = replace(seen[0], power_w=None)
    seen[1] = replace(seen[1], power_error_w=20.0)
    snapshot = replace(bench.snapshot(everybody=False), telemetry=tuple(seen))
    state, _ = engine.step(state, snapshot, 1.0)
    state.fleet.verdict[4], state.fleet.attempts[4] = Verdict.QUARANTINED, 3
    state.fleet.quarantined_until[4] = 1e6
    lost = MinerReading(2, Condition.UNREACHABLE, None, None, None, 3.0, 3.5, detail="timeout")
    state, decision = engine.step(state, Snapshot(snapshot.wall + 3.0, snapshot.readings, (lost,)), 4.5)
    return facts, state, decision


def test_what_is_known_is_the_state_s_and_what_is_not_is_left_out(mixed: tuple[Fleet, State, Decision]) -> None:
    facts, state, decision = mixed
    seen = page_of(*mixed)
    everybody = set(facts.miner_ids)
    assert values(seen, "info") == dict.fromkeys(facts.miner_ids, 1.0)
    assert seen["info"]["m0"][0] == {"miner": "m0", "model": "bench", "firmware": "unknown", "feeder": "f0"}
    told = {
        name: float(np.rint(state.fleet.reported_w[row]))
        for row, name in enumerate(facts.miner_ids)
        if name not in ("m0", "m1", "m2", "m3")
    }
    assert values(seen, "power_watts") == told
    expected = dict(zip(facts.miner_ids, np.rint(decision.expected_power_w).tolist(), strict=True))
    assert values(seen, "expected_watts") == {name: expected[name] for name in everybody - {"m3"}}
    assert expected["m2"] > 3000, "silent, and still counted at what it drew last"
    assert values(seen, "telemetry_age_seconds") == dict.fromkeys(everybody - {"m3"}, 3.5)
    assert values(seen, "failed_attempts") == {**dict.fromkeys(facts.miner_ids, 0.0), "m4": 3.0}
    unplanned = {name for row, name in enumerate(facts.miner_ids) if decision.allocation.why_of(row) in NO_PLAN}
    assert unplanned == {"m3"}
    planned = values(seen, "planned_watts")
    assert set(planned) == everybody - {"m3"}
    for row, name in enumerate(facts.miner_ids):
        if name in planned and not decision.allocation.hashing[row]:
            assert planned[name] == facts.sleep_power_w[row]
        elif name in planned:
            rung_w = facts.level_power_w[row, decision.allocation.level[row]]
            assert planned[name] == pytest.approx(rung_w * state.fleet.ratio[row], abs=0.5)


def test_every_miner_is_in_one_state_the_one_it_is_counted_in(mixed: tuple[Fleet, State, Decision]) -> None:
    _, _, decision = mixed
    seen = page_of(*mixed)
    states = {miner: labels["state"] for miner, (labels, value) in seen["state"].items() if value == 1}
    counted = Counter(states.values())
    assert {name: counted.get(name, 0) for name in decision.counts} == decision.counts
    assert (states["m2"], states["m3"], states["m4"]) == ("unreachable", "unknown", "quarantined")
    verdicts = {miner: labels["verdict"] for miner, (labels, value) in seen["verdict"].items() if value == 1}
    assert (verdicts["m3"], verdicts["m4"], verdicts["m6"]) == ("unseen", "quarantined", "settled")


def test_a_miner_no_plan_touches_has_no_planned_watts(mixed: tuple[Fleet, State, Decision]) -> None:
    facts, state, decision = mixed
    for row, why in enumerate(Why):
        code = np.full(len(facts), WHYS.index(Why.BASE))
        code[row % len(facts)] = WHYS.index(why)
        seen = page_of(facts, state, replace(decision, allocation=replace(decision.allocation, why=code)))
        assert (facts.miner_ids[row % len(facts)] in seen["planned_watts"]) == (why not in NO_PLAN)


def test_before_the_first_cycle_the_page_says_who_there_is_and_nothing_else() -> None:
    seen = parsed("".join(MinerMetrics(fleet_of(3)).slices()))
    assert set(seen) == {"info"}
    assert set(seen["info"]) == {"m0", "m1", "m2"}


def test_names_of_any_kind_come_back_as_they_are() -> None:
    names = ('r1"07', "back\\slash", "two\nlines", "käse{}", 'a\\"b\\n')
    units = tuple(replace(fleet_of(1).units[0], miner_id=name, family=f"{name} OS") for name in names)
    seen = parsed("".join(MinerMetrics(build_fleet(units, ("feeder \\ 1",), (50_000,))).slices()))
    assert {miner: labels["firmware"] for miner, (labels, _) in seen["info"].items()} == {n: f"{n} OS" for n in names}
    assert {labels["feeder"] for labels, _ in seen["info"].values()} == {"feeder \\ 1"}


def test_ten_thousand_miners_are_written_in_small_slices_and_read_back_whole() -> None:
    bench = Bench(10_000)
    bench.run(2)
    state, now = bench.state, bench.now + 1.0
    bench.now = now
    state, decision = bench.engine.step(state, bench.snapshot(everybody=False), now)
    writer = MinerMetrics(bench.facts)
    writer.observe(state, decision)
    slices = list(writer.slices())
    assert max(part.count("\n") for part in slices) <= 1_000, "a quarter of a millisecond each"
    assert len(slices) <= (SERIES_PER_MINER_MAX + 1) * 11
    seen = parsed("".join(slices))
    assert sum(map(len, seen.values())) == SERIES_PER_MINER_MAX * 10_000
    expected = np.array([seen["expected_watts"][name][1] for name in bench.facts.miner_ids])
    assert np.array_equal(expected, np.rint(decision.expected_power_w))
    power = np.array([seen["power_watts"][name][1] for name in bench.facts.miner_ids])
    assert np.array_equal(power, np.rint(state.fleet.reported_w))


def test_a_page_is_of_one_moment_however_long_it_takes_to_write() -> None:
    bench = Bench(3)
    bench.run(2)
    writer = MinerMetrics(bench.facts)
    bench.now += 1.0
    bench.state, first = bench.engine.step(bench.state, bench.snapshot(everybody=True), bench.now)
    writer.observe(bench.state, first)
    at_once = "".join(writer.slices())
    parts = []
    for part in writer.slices():  # a cycle between any two slices
        parts.append(part)
        bench.now += 1.0
        bench.state, later = bench.engine.step(bench.state, bench.snapshot(everybody=True), bench.now)
        writer.observe(bench.state, later)
    assert "".join(parts) == at_once
    assert "".join(writer.slices()) != at_once


def test_the_reference_lists_exactly_what_is_exported(mixed: tuple[Fleet, State, Decision]) -> None:
    seen = page_of(*mixed)
    exported = {f"curtaild_miner_{name}": set(next(iter(of.values()))[0]) for name, of in seen.items()}
    rows = re.findall(
        r"^\| `(curtaild_miner_\w+)` \| gauge \| ([^|]*) \| (.*) \|$", STATUS_PAGE.read_text(), re.MULTILINE
    )
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels, _ in rows} == exported
    texts = {name: text for name, _, text in rows}
    assert {family.name: family.text for family in FAMILIES} == {f.name: texts[f.name] for f in FAMILIES}
