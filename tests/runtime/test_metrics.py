"""What Prometheus reads: parsed with its own parser, compared with what docs/status.md promises."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome, Verb
from controller.domain.dispatch import Answer, AnswerStatus, RejectCode
from controller.domain.fleet import Fleet, Level, MinerModel, MinerUnit, ResponseClass, build_fleet
from controller.domain.plan import (
    Allocation,
    ClassReport,
    Decision,
    Event,
    EventLevel,
    FeederReport,
    Figures,
    InputHealth,
    InputState,
    OrderProgress,
    Setpoint,
    VerdictReport,
    WaveReport,
)
from controller.domain.reasons import Bound, Unallocated
from controller.domain.shadow import ShadowReport, Tally
from controller.runtime.inbox import InboxCounts
from controller.runtime.metrics import Metrics
from controller.runtime.miner_metrics import FAMILIES

STATUS_PAGE = Path(__file__).parents[2] / "docs" / "status.md"


@pytest.fixture
def fleet() -> Fleet:
    response = ResponseClass("s21-luxos", 2.0, 3.0, 20.0, 40.0, 2.0, 5.0, 20)
    model = MinerModel("s21", (Level("low", 2500, 150.0), Level("high", 3500, 200.0)), response)
    return build_fleet((MinerUnit("r1-01", model, 0, 1, "LuxOS"),), ("feeder",), (10_000,))


@pytest.fixture
def metrics(fleet: Fleet) -> Metrics:
    return Metrics("dasu-1", fleet, dict.fromkeys(("curtaild", "pyasic", "pymodbus", "aiomqtt", "python"), "1.0"))


@pytest.fixture
def decision() -> Decision:
    return Decision(
        cycle=1,
        now=1.0,
        wall=1.0,
        setpoint=Setpoint(412_000.0, Bound.SURPLUS, "poi", None, True),
        allocation=Allocation(np.array([True]), np.array([1]), np.array([0]), 4e5, 12_000.0, Unallocated.STEP_SIZE),
        figures=Figures(430_000.0, 420_000.0, 412_000.0, 410_000.0, None, None, 8_000.0, 3e5, 25_000.0, 390.0),
        inputs=(InputHealth("poi_export_w", InputState.HOLD, "stale", 4.0),),
        fail_safe=InputState.HOLD,
        commands=(Command(9, 0, Verb.SLEEP, None, False, True, "shed"),),
        answers=(Answer("a", "b", AnswerStatus.REJECTED, 1.0, True, None, RejectCode.EXPIRED, "late"),),
        verdicts=(VerdictReport(8, 0, "wake", "settled", 44.0),),
        events=(Event("input_state", EventLevel.WARNING, "hold"),),
        priors=(),
        counts={"hashing": 1, "quarantined": 0},
        active_orders=("a",),
        progress=OrderProgress("a", 2.0, None, None),
        expected_power_w=np.array([3500.0]),
        limit_power_w=np.array([8_000.0]),
        feeders=(FeederReport(0, 3_600.0, 3_500.0, 80.0, 20.0, "contradicted", None, 1),),
        classes=(
            ClassReport(
                name="S21",
                dead_s=(1.0, 6.8, 1.0),
                to_90_s=(3.0, 10.0, 3.0),
                learned=(False, True, False),
                commands=(3.0, 40.0, 0.0),
                boots=80.0,
                boot_success=0.9,
                sleep_power_w=None,
            ),
        ),
        waves=(WaveReport("S21", 0, 40, 12, None),),
        shadow=ShadowReport(3e5, 60.0, Tally(4.0, 1.0), Tally(5.0, 0.0, 2.0, 30.0, 7), {"sleep": 3}),
    )


async def samples_of(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(await text_of(metrics))
        for sample in family.samples
    }


async def text_of(metrics: Metrics) -> str:
    return "".join([part async for part in metrics.page()])


def fill(metrics: Metrics, decision: Decision) -> None:
    metrics.observe_decision(decision)
    metrics.observe_cycle(0.004, overrun=False)
    metrics.observe_report(CommandReport(9, 0, Outcome.ACKNOWLEDGED, 1.0, 1.2))
    metrics.observe_telemetry(np.array([4.0]))
    metrics.observe_inbox(InboxCounts(received=7), connected=True, heartbeat_age_s=None, waiting=2)
    metrics.observe_journal(writable=True, waiting_rows=3, rows_lost=0, commit_s=0.0002)


async def test_what_shadow_mode_measured_is_shown_once_and_goes_on_where_it_was(
    metrics: Metrics, decision: Decision
) -> None:
    fill(metrics, decision)
    fill(metrics, decision)
    seen = await samples_of(metrics)
    assert seen["curtaild_shadow_load_watts", ()] == 3e5
    assert seen["curtaild_shadow_compared_seconds_total", ()] == 60.0
    assert seen["curtaild_shadow_energy_watt_hours_total", (("part", "above_cap"), ("whose", "site"))] == 2.0
    assert seen["curtaild_shadow_above_cap_seconds_total", (("whose", "site"),)] == 30.0
    assert seen["curtaild_shadow_switches_total", (("whose", "site"),)] == 7
    assert seen["curtaild_shadow_commands_total", (("verb", "sleep"),)] == 3


async def test_a_decision_shows_as_it_was_made(metrics: Metrics, decision: Decision) -> None:
    fill(metrics, decision)
    seen = await samples_of(metrics)
    assert seen["curtaild_surplus_watts", ()] == 430_000.0
    assert seen["curtaild_target_watts", ()] == 412_000.0
    assert seen["curtaild_shedding", ()] == 1
    assert seen["curtaild_miners", (("state", "hashing"),)] == 1
    assert seen["curtaild_input_age_seconds", (("input", "poi_export_w"),)] == 4.0
    assert seen["curtaild_input_state", (("input", "poi_export_w"),)] == 1
    assert seen["curtaild_order_progress_seconds", (("percent", "50"),)] == 2.0
    assert math.isnan(seen["curtaild_order_progress_seconds", (("percent", "90"),)])
    assert seen["curtaild_dispatch_answers_total", (("code", "455"), ("status", "REJECTED"))] == 1
    assert seen["curtaild_feeder_load_watts", (("feeder", "feeder"),)] == 3_600.0
    assert seen["curtaild_feeder_excess_watts", (("feeder", "feeder"),)] == 20.0
    assert seen["curtaild_feeder_unproved_miners", (("feeder", "feeder"),)] == 1
    groups = {labels: value for (name, labels), value in seen.items() if name == "curtaild_feeder_verdict"}
    assert {labels for labels, value in groups.items() if value} == {
        (("feeder", "feeder"), ("verdict", "contradicted"))
    }
    assert len(groups) == 3
    assert seen["curtaild_expected_uncertainty_watts", ()] == 390.0
    verdict = (("class", "s21-luxos"), ("family", "LuxOS"), ("verb", "wake"), ("verdict", "settled"))
    assert seen["curtaild_verdicts_total", verdict] == 1
    outcome = (("class", "s21-luxos"), ("family", "LuxOS"), ("outcome", "acknowledged"), ("verb", "sleep"))
    assert seen["curtaild_outcomes_total", outcome] == 1
    command = (("family", "LuxOS"), ("urgent", "true"), ("verb", "sleep"))
    assert seen["curtaild_commands_total", command] == 1
    assert seen["curtaild_cycle_seconds_count", ()] == 1


async def test_exactly_one_bound_is_binding(metrics: Metrics, decision: Decision) -> None:
    for bound in (Bound.SURPLUS, Bound.RAMP_UP, Bound.RAMP_UP, Bound.TRIP):
        metrics.observe_decision(replace(decision, setpoint=replace(decision.setpoint, bound=bound)))
        seen = await samples_of(metrics)
        ones = {labels: value for (name, labels), value in seen.items() if name == "curtaild_binding_bound"}
        assert len(ones) == len(Bound)
        assert {labels for labels, value in ones.items() if value == 1} == {(("bound", bound.value),)}


async def test_what_nobody_knows_is_not_a_number(metrics: Metrics, decision: Decision) -> None:
    for name in ("surplus_watts", "mqtt_connected", "journal_writable", "dispatcher_heartbeat_age_seconds"):
        assert math.isnan((await samples_of(metrics))[f"curtaild_{name}", ()])
    fill(metrics, decision)
    seen = await samples_of(metrics)
    assert math.isnan(seen["curtaild_measured_watts", ()])
    assert math.isnan(seen["curtaild_residual_watts", ()])


async def test_counts_kept_elsewhere_are_counters_that_only_rise(metrics: Metrics) -> None:
    for received, lost in ((3, 0), (3, 4), (5, 4)):
        counts = InboxCounts(received=received, answers_dropped=2)
        metrics.observe_inbox(counts, connected=True, heartbeat_age_s=1.0, waiting=0)
        metrics.observe_journal(writable=True, waiting_rows=0, rows_lost=lost, commit_s=None)
        seen = await samples_of(metrics)
        assert seen["curtaild_mqtt_orders_received_total", ()] == received
        assert seen["curtaild_mqtt_answers_dropped_total", ()] == 2
        assert seen["curtaild_journal_rows_lost_total", ()] == lost


async def test_telemetry_is_as_old_as_the_reads_of_those_who_were_ever_read(metrics: Metrics) -> None:
    metrics.observe_telemetry(np.array([math.inf, math.inf]))
    oldest = ("curtaild_telemetry_age_seconds", (("quantile", "1"),))
    assert math.isnan((await samples_of(metrics))[oldest])
    metrics.observe_telemetry(np.array([2.0, math.inf, 9.0, 3.0]))
    seen = await samples_of(metrics)
    assert seen[oldest] == 9.0
    assert seen["curtaild_telemetry_age_seconds", (("quantile", "0.5"),)] == 3.0


async def test_a_restore_is_counted_as_one(metrics: Metrics) -> None:
    metrics.observe_report(CommandReport(RESTORE_COMMAND_ID, 0, Outcome.APPLIED, 1.0, 1.2))
    restored = (("class", "s21-luxos"), ("family", "LuxOS"), ("outcome", "applied"), ("verb", "restore"))
    assert (await samples_of(metrics))["curtaild_outcomes_total", restored] == 1


async def test_the_log_s_losses_safe_mode_and_miners_lost_at_once_are_told(
    metrics: Metrics, decision: Decision
) -> None:
    seen = await samples_of(metrics)
    assert seen["curtaild_safe_mode", ()] == 0
    assert math.isnan(seen["curtaild_miners_unreachable_at_once", ()])
    assert seen["curtaild_asyncio_tasks", ()] == len(asyncio.all_tasks())
    assert seen["curtaild_process_open_fds", ()] > 2
    for dropped, held in ((3, 0), (3, 9)):
        metrics.observe_log(lines_dropped=dropped, held_back=held)
    metrics.observe_decision(replace(decision, unreachable_at_once=30, without_work=12, shed_left_w=3_450.0))
    metrics.observe_safe_mode(40_000.0, 25_000.0)
    seen = await samples_of(metrics)
    assert seen["curtaild_log_lines_dropped_total", ()] == 3
    assert seen["curtaild_log_events_held_back_total", ()] == 9
    assert seen["curtaild_safe_mode", ()] == 1
    assert (seen["curtaild_expected_watts", ()], seen["curtaild_target_watts", ()]) == (40_000.0, 25_000.0)
    assert seen["curtaild_miners_unreachable_at_once", ()] == 30
    assert seen["curtaild_miners_without_work", ()] == 12
    assert seen["curtaild_shed_left_watts", ()] == 3_450.0


async def test_a_class_and_its_wave_are_told_and_what_nobody_can_say_is_no_number(
    metrics: Metrics, decision: Decision
) -> None:
    metrics.observe_decision(decision)
    seen = await samples_of(metrics)
    wake = (("class", "S21"), ("verb", "wake"))
    assert (seen["curtaild_class_dead_seconds", wake], seen["curtaild_class_90_seconds", wake]) == (6.8, 10.0)
    assert (seen["curtaild_class_learned", wake], seen["curtaild_class_commands", wake]) == (1, 40)
    assert seen["curtaild_class_boot_success_ratio", (("class", "S21"),)] == 0.9
    assert math.isnan(seen["curtaild_class_sleep_watts", (("class", "S21"),)])
    cell = (("class", "S21"), ("feeder", "feeder"))
    assert (seen["curtaild_restore_wave_miners", cell], seen["curtaild_restore_stopped", cell]) == (40, 0)
    stopped = replace(decision.waves[0], size=20, stopped_for_s=290.0)
    metrics.observe_decision(replace(decision, waves=(stopped,)))
    seen = await samples_of(metrics)
    assert (seen["curtaild_restore_wave_miners", cell], seen["curtaild_restore_stopped", cell]) == (20, 1)


async def test_each_limit_shows_its_load_and_its_rating(metrics: Metrics, decision: Decision) -> None:
    metrics.observe_decision(decision)
    seen = await samples_of(metrics)
    cell = (("limit", "feeder"),)
    assert seen["curtaild_limit_power_watts", cell] == 8_000
    assert seen["curtaild_limit_rating_watts", cell] == 10_000


async def test_the_reference_lists_exactly_what_is_exported(metrics: Metrics, decision: Decision) -> None:
    fill(metrics, decision)
    exported = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in text_string_to_metric_families(await text_of(metrics))
    }
    rows = re.findall(r"^\| `(curtaild_\w+)` \| (\w+) \| ([^|]*) \|", STATUS_PAGE.read_text(), re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(rows) == len(documented), "a family is listed twice"
    per_miner = {"curtaild_miner_info", *(family.name for family in FAMILIES)}
    assert {name: what for name, what in documented.items() if name not in per_miner} == exported


def test_the_reference_lists_exactly_the_events_there_are() -> None:
    sources = (STATUS_PAGE.parents[1] / "controller").rglob("*.py")
    calls = [call for source in sources for call in re.findall(r"\bEvent\((.*?)[lL]evel", source.read_text())]
    in_code = {name for call in calls for name in re.findall(r'"([a-z_]+)"', call)}
    section = STATUS_PAGE.read_text().split("## Events")[1].split("## Log lines")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == in_code
