"""The demo's site in virtual time: `python -m tests.rig.demo_like` prints what the demo's report would say.

For tuning the law: 180 s take a second or two instead of three minutes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace

import numpy as np

from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Malformed, Received
from controller.domain.policy import Feedback
from simulators.accounting import count_moves, energy_kwh, violation
from simulators.benchmark import cap_steps, demo_horizon_s, oracle_fleet
from simulators.demo.figures import MOVE_FRACTION, fall_of, limits_of
from simulators.demo.recording import OrderRecord, Truth
from simulators.oracle import absorbable
from simulators.scenario import DEMO, Scenario
from tests.rig.fleet import core_fleet
from tests.rig.policy import Rules, site_policy
from tests.rig.record import Record
from tests.rig.setup import WALL_AT_START, Message, Setup
from tests.rig.site import Site


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one run, powers true, energies in kWh."""

    absorbed_kwh: float
    surplus_kwh: float
    absorbable_kwh: float | None
    net_total_s: float
    net_longest_s: float
    raw_total_s: float
    raw_longest_s: float
    moves_up: int
    moves_down: int
    commands: int
    quarantined: tuple[int, ...]
    misbehaving: tuple[int, ...]
    step_ms_p99: float

    @property
    def share(self) -> float | None:
        return None if self.absorbable_kwh is None else self.absorbed_kwh / self.absorbable_kwh


def demo_setup(scenario: Scenario, duration_s: float, seed: int, rules: Rules, meter_period_s: float) -> Setup:
    """A scenario of the simulators as a run of the rig, dispatches included."""
    miners = scenario.fleet.miners()
    rated_w = round(scenario.fleet.rated_w())
    feeders = len(scenario.plant.site.feeders)
    feeder_of_miner = tuple(index % feeders for index in range(len(miners)))
    messages: list[Message] = []
    for number, order in enumerate(scenario.dispatches, start=1):
        at_s = order.at_fraction * duration_s
        dispatch = Dispatch(
            dispatch_id=f"demo-{number}",
            issuer="grid",
            seq=number,
            issued_at=WALL_AT_START + at_s,
            expires_at=WALL_AT_START + at_s + order.for_fraction * duration_s,
            dispatch_class=DispatchClass.NORMAL,
            kind=DispatchKind(order.kind),
            power_w=round(order.power_fraction * rated_w),
        )
        messages.append(Message(at_s, Received(dispatch, WALL_AT_START + at_s), obeyed=True))
    return Setup(
        name=scenario.name,
        seed=seed,
        duration_s=duration_s,
        facts=core_fleet(miners, feeder_of_miner, [rated_w] * feeders),
        policy=site_policy(
            rated_w=rated_w,
            auxiliary_w=round(scenario.plant.site.auxiliary_w),
            power_span_w=3_000_000,
            fleet_size=len(miners),
            rules=rules,
        ),
        fleet=replace(scenario.fleet.spec(), seed=seed),
        feeder_of_miner=feeder_of_miner,
        plant=scenario.plant,
        surplus=scenario.surplus_trace(),
        meter_period_s=meter_period_s,
        meter_noise=0.001,
        sweep_s=scenario.policy.sweep_period_s,
        answers_lost=0.0,
        input_faults=(),
        outages=(),
        reboots=(),
        plant_events=(),
        messages=tuple(messages),
        operations=(),
        heartbeats_until_s=None,
        calm_from_s=duration_s,
        feeder_meters=tuple(range(feeders)),
        writes_per_day=scenario.policy.restarts_per_day,
    )


def scenario_rules(scenario: Scenario) -> Rules:
    """The policy a scenario asks for."""
    policy = scenario.policy
    return Rules(
        ramp_up_ratio_per_min=policy.ramp_up_fraction_per_min,
        ramp_down_ratio_per_min=policy.ramp_down_fraction_per_min,
        step_15s_ratio=policy.step_15s_fraction,
        dwell_on_s=policy.min_hashing_s,
        dwell_off_s=policy.min_asleep_s,
        wakes_per_cycle=policy.wakes_per_cycle,
    )


def judge(scenario: Scenario, setup: Setup, record: Record, oracle: bool) -> Outcome:
    """Figures of a run by true power, by the rules of the demo's report; the oracle takes some seconds."""
    t_s, load_w, cap_w, _ = record.arrays()
    rated_w = scenario.fleet.rated_w()
    truth = Truth(t_s, load_w, cap_w, cap_w)
    limits = limits_of(truth, _orders(setup, record), fall_of(scenario))
    net = violation(t_s, load_w, limits.kept_w, rated_w, demo_horizon_s(scenario))
    raw = violation(t_s, load_w, limits.kept_w, rated_w, 0.0)
    moves = count_moves(load_w, MOVE_FRACTION * rated_w)
    best: float | None = None
    if oracle:
        classes, around = oracle_fleet(scenario)
        caps = cap_steps(t_s, limits.absorbable_w, setup.duration_s, 1.0)
        best = absorbable(caps, 1.0, classes, around).absorbed_kwh
    misbehaving = tuple(i for i, behaviour in enumerate(scenario.fleet.behaviours()) if behaviour)
    return Outcome(
        absorbed_kwh=energy_kwh(t_s, np.minimum(load_w, limits.absorbable_w)),
        surplus_kwh=energy_kwh(t_s, cap_w),
        absorbable_kwh=best,
        net_total_s=net.total_s,
        net_longest_s=net.longest_s,
        raw_total_s=raw.total_s,
        raw_longest_s=raw.longest_s,
        moves_up=moves.up,
        moves_down=moves.down,
        commands=sum(len(row.commands) for row in record.cycles),
        quarantined=tuple(int(i) for i in np.flatnonzero(record.final_quarantined)),
        misbehaving=misbehaving,
        step_ms_p99=float(np.percentile([row.step_ms for row in record.cycles], 99)),
    )


def _orders(setup: Setup, record: Record) -> list[OrderRecord]:
    """The dispatches of the run with their answers, as a dispatcher saw them."""
    orders = []
    for message in setup.messages:
        dispatch = message.received.message
        if isinstance(dispatch, Malformed):
            continue
        answers: dict[str, float] = {}
        answered_w = float(dispatch.power_w or 0)
        for at_s, answer in record.answers:
            if answer.dispatch_id == dispatch.dispatch_id:
                answers.setdefault(answer.status.value, at_s)
                answered_w = answered_w if answer.power_w is None else float(answer.power_w)
        for_s = dispatch.expires_at - dispatch.issued_at
        orders.append(
            OrderRecord(dispatch.kind.value, float(dispatch.power_w or 0), answered_w, message.at_s, for_s, answers)
        )
    return orders


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--meter-period", type=float, default=DEMO.policy.meter_period_s)
    parser.add_argument("--ramp", type=float, help="up-ramp, share of rated per minute; default is the demo's")
    parser.add_argument("--step-15s", type=float, help="largest rise in 15 s, share of rated; default is the demo's")
    parser.add_argument("--memory", type=float, default=Rules().margin_memory_s, help="seconds a peak is remembered")
    parser.add_argument("--no-trim", action="store_true")
    parser.add_argument("--open-loop", action="store_true")
    parser.add_argument("--no-oracle", action="store_true")
    parser.add_argument("--trace", action="store_true", help="print one line a second")
    given = parser.parse_args()
    policy = replace(
        DEMO.policy,
        ramp_up_fraction_per_min=given.ramp or DEMO.policy.ramp_up_fraction_per_min,
        step_15s_fraction=given.step_15s or DEMO.policy.step_15s_fraction,
    )
    scenario = replace(DEMO, policy=policy)
    rules = replace(
        scenario_rules(scenario),
        margin_memory_s=given.memory,
        trim=not given.no_trim,
        feedback=Feedback.OPEN_LOOP if given.open_loop else Feedback.METER,
    )
    for seed in range(DEMO.fleet.seed, DEMO.fleet.seed + given.seeds):
        setup = demo_setup(scenario, given.seconds, seed, rules, given.meter_period)
        record = Site(setup).run()
        if given.trace:
            print_trace(record)
        outcome = judge(scenario, setup, record, oracle=not given.no_oracle)
        share = outcome.share
        said = {name: getattr(outcome, name) for name in Outcome.__slots__}
        print(json.dumps({"seed": seed, "share": share} | said, default=str))


def print_trace(record: Record) -> None:
    """One line a cycle: time, cap, set-point, load and expectation in kW, what bound it, commands by verb."""
    t_s, load_w, cap_w, _ = record.arrays()
    for row in record.cycles:
        at = int(np.searchsorted(t_s, row.at_s - 1e-6))
        verbs: dict[str, int] = {}
        for command in row.commands:
            name = f"{command.verb.value}{'+' if command.raises else '-'}"
            verbs[name] = verbs.get(name, 0) + 1
        print(
            f"{row.at_s:7.1f} cap {cap_w[at] / 1e3:7.1f} set {row.setpoint_w / 1e3:7.1f} load {load_w[at] / 1e3:7.1f} "
            f"exp {(row.expected_w or 0.0) / 1e3:7.1f} {row.bound:14s} {row.fail_safe:9s} q{row.quarantined} {verbs}"
        )
    for said_at, name, miner, text in record.events:
        print(f"{said_at:7.1f} {name} {miner or ''} {text}")


if __name__ == "__main__":
    main()
