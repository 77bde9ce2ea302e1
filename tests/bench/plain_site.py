"""A site whose miners obey at once, for benches that need decisions of any size and no physics.

In control, its surplus wandering, a thirtieth of the fleet read in every cycle.
"""

from __future__ import annotations

import math

from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.command import Command, Verb
from controller.domain.fleet import (
    Condition,
    Fleet,
    Level,
    MinerModel,
    MinerReading,
    MinerUnit,
    ResponseClass,
    build_fleet,
)
from controller.domain.metering import FOLLOW_POINTS, Point, Quality, Sample
from controller.domain.plan import Snapshot
from controller.domain.policy import (
    DispatchPolicy,
    Feedback,
    FleetPolicy,
    InputPolicy,
    Mode,
    Policy,
    RampPolicy,
    WavePolicy,
)

WATTS = (1_800, 2_100, 2_400, 2_700, 3_000, 3_250, 3_500)
RESPONSE = ResponseClass(
    "bench", sleep_dead_s=1, sleep_90_s=3, wake_dead_s=10, wake_90_s=40, trim_dead_s=1, trim_90_s=6, sleep_power_w=50
)
SWEEP_CYCLES = 30
WALL = 1_800_000_000.0


def fleet_of(size: int) -> Fleet:
    """`size` miners of one model in ten grades of efficiency on feeders of 500."""
    units = []
    for index in range(size):
        joule_per_th = 17.0 + index % 10
        rungs = tuple(Level(f"{watts}W", watts, watts / joule_per_th) for watts in WATTS)
        units.append(MinerUnit(f"m{index}", MinerModel("bench", rungs, RESPONSE), index // 500, len(WATTS) - 1))
    feeders = size // 500 + 1
    names = tuple(f"f{number}" for number in range(feeders))
    return build_fleet(tuple(units), names, (500 * 3_600,) * feeders)


def policy_of(size: int) -> Policy:
    """The documented defaults for a site of this rating."""
    rated_w = size * 3_600
    return Policy(
        site_id="bench",
        rated_w=rated_w,
        site_cap_w=rated_w,
        fallback_w=rated_w // 10,
        auxiliary_w=size * 50,
        surplus_margin_w=rated_w // 100,
        household_tolerance_w=rated_w // 100,
        frequency_guard_hz=49.5,
        frequency_min_hz=45.0,
        frequency_max_hz=55.0,
        power_span_w=rated_w * 20,
        required_points=frozenset(FOLLOW_POINTS),
        meter_of_point=dict.fromkeys(FOLLOW_POINTS, "bench"),
        cycle_s=1.0,
        mode=Mode.CONTROL,
        ramp=RampPolicy(0.08 * rated_w, 0.2 * rated_w, 0.05 * rated_w, 0.05 * rated_w, 0.4 * rated_w),
        inputs=InputPolicy(3.0, 10.0, 30.0, 0.0, 10.0, 60.0, 0.01, 1_000.0, 5.0, 10.0),
        fleet=FleetPolicy(
            trim=True,
            feedback=Feedback.METER,
            dwell_on_s=900.0,
            dwell_off_s=600.0,
            starts_per_day=6,
            trim_reserve_ratio=0.1,
            margin_memory_s=600.0,
            wakes_per_cycle_max=50,
            commands_per_cycle_max=200,
            deadband_up_w=0.01 * rated_w,
            deadband_down_w=0.005 * rated_w,
            deadband_order_w=0.001 * rated_w,
            tolerance_ratio=0.1,
            tolerance_w=100.0,
            deadline_factor=2.0,
            deadline_extra_s=60.0,
            attempts_max=3,
            drift_reads=2,
            quarantine_s=3_600.0,
            telemetry_stale_s=300.0,
            adopt_sleepers_at_start=True,
            mass_disconnect_ratio=0.2,
            mass_disconnect_window_s=15.0,
            learn=True,
            waves=WavePolicy(enabled=True, first=40, growth=1.5, success_min=0.8, pause_s=300.0),
        ),
        dispatch=DispatchPolicy(False, 120.0, 2.0, 30.0, 86_400.0, 16, 10_000),
    )


class Bench:
    """A site whose miners obey at once and whose surplus swings by a third of the rating every ten minutes."""

    def __init__(self, size: int) -> None:
        self.facts = fleet_of(size)
        self.policy = policy_of(size)
        self.engine = Engine(self.facts, self.policy)
        self.state: State = self.engine.fresh_state(0.0)
        self.hashing = [index % 2 == 0 for index in range(size)]
        self.level = [len(WATTS) - 1] * size
        self.now = 0.0

    def draw_w(self, miner: int) -> float:
        return float(WATTS[self.level[miner]]) if self.hashing[miner] else 50.0

    def snapshot(self, everybody: bool) -> Snapshot:
        """What a cycle finds in the mailbox; `everybody` is the first sweep."""
        size = len(self.facts)
        load = self.policy.auxiliary_w + sum(map(self.draw_w, range(size)))
        despatch = 10.0 * self.policy.rated_w
        surplus = self.policy.rated_w * (0.5 + 0.17 * math.sin(self.now / 600.0 * 2.0 * math.pi))
        values = {
            Point.SITE_LOAD_W: load,
            Point.POI_EXPORT_W: despatch + surplus - load,
            Point.DESPATCH_EXPORT_W: despatch,
            Point.RESERVE_UP_W: 0.0,
            Point.GROSS_W: despatch + surplus,
            Point.AVAILABLE_W: 15.0 * self.policy.rated_w,
        }
        readings = {point: Sample(value, self.now, Quality.GOOD, "bench") for point, value in values.items()}
        first = int(self.now) % SWEEP_CYCLES
        read = range(size) if everybody else range(first, size, SWEEP_CYCLES)
        return Snapshot(WALL + self.now, readings, tuple(map(self.reading, read)))

    def reading(self, miner: int) -> MinerReading:
        on = self.hashing[miner]
        level = self.level[miner] if on else None
        condition = Condition.HASHING if on else Condition.ASLEEP
        return MinerReading(miner, condition, self.draw_w(miner), None, level, self.now, self.now + 0.1)

    def obey(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            self.hashing[command.miner] = command.verb is not Verb.SLEEP
            if command.level is not None:
                self.level[command.miner] = command.level

    def run(self, cycles: int) -> None:
        """So many cycles; the first one finds everybody read."""
        for cycle in range(cycles):
            self.now += 1.0
            self.state, decision = self.engine.step(self.state, self.snapshot(everybody=cycle == 0), self.now)
            self.obey(decision.commands)
