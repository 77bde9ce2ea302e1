"""What a good site file turns into: the policy, its defaults, and what is warned of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, get_type_hints

import pytest

from controller.config.resolve import fallback_offset_s
from controller.domain.policy import Feedback, Mode, Policy

if TYPE_CHECKING:
    from tests.config.conftest import Disk


def test_a_small_site_gets_its_ramps_as_shares_of_its_rating(disk: Disk) -> None:
    ramp = disk.load().policy().ramp
    assert (ramp.up_w_per_min, ramp.down_w_per_min) == (1_600, 4_000)
    assert (ramp.up_w_per_15s, ramp.down_w_per_15s) == (1_000, 1_000)
    assert ramp.fallback_w_per_min == 8_000


def test_a_large_site_gets_the_absolute_ramps_of_large_loads(disk: Disk) -> None:
    disk.edit(disk.site, 'rated = "20 kW"', 'rated = "200 MW"')
    disk.edit(disk.site, '"150 kW"', '"1 GW"')
    ramp = disk.load().policy().ramp
    assert (ramp.up_w_per_min, ramp.down_w_per_min) == (8_000_000, 20_000_000)
    assert (ramp.up_w_per_15s, ramp.down_w_per_15s) == (5_000_000, 5_000_000)


def test_a_slower_minute_limit_pulls_the_15_second_default_down_with_it(disk: Disk) -> None:
    disk.edit(disk.site, "[ramp]\n", '[ramp]\nup = "3 %/min"\n')
    assert disk.load().policy().ramp.up_w_per_15s == pytest.approx(600)


def test_the_defaults_of_the_site_follow_from_what_only_the_operator_knows(disk: Disk) -> None:
    policy = disk.load().policy()
    assert (policy.rated_w, policy.site_cap_w, policy.fallback_w, policy.auxiliary_w) == (20_000, 20_000, 1_000, 1_000)
    assert policy.surplus_margin_w == 200
    # 2 steps of 1 kW are more than 1 % of 20 kW
    assert policy.household_tolerance_w == 2_000
    assert policy.fleet.deadband_up_w == 2_000
    assert policy.inputs.balance_step_w == 2_000
    assert (policy.frequency_guard_hz, policy.frequency_min_hz, policy.frequency_max_hz) == (
        49.5,
        45.0,
        pytest.approx(55.0),
    )
    assert (policy.mode, policy.fleet.feedback, policy.fleet.trim) == (Mode.CONTROL, Feedback.METER, True)
    assert (policy.fleet.wakes_per_cycle_max, policy.fleet.commands_per_cycle_max) == (2, 50)
    assert policy.dispatch.lease_required is False


def test_a_60_hz_grid_moves_the_guard_and_the_believable_band(disk: Disk) -> None:
    disk.edit(disk.site, "[site]\n", '[site]\nfrequency = "60 Hz"\n')
    policy = disk.load().policy()
    assert policy.frequency_guard_hz == pytest.approx(59.4)
    assert (policy.frequency_min_hz, policy.frequency_max_hz) == (pytest.approx(54), pytest.approx(66))


KEYS = [
    ("site", 'cap = "18 kW"', "site_cap_w", 18_000),
    ("site", 'fallback = "2 kW"', "fallback_w", 2_000),
    ("control", 'mode = "observe"', "mode", Mode.OBSERVE),
    ("control", "trim = false", "fleet.trim", False),
    ("control", 'feedback = "open_loop"', "fleet.feedback", Feedback.OPEN_LOOP),
    ("control", 'surplus_margin = "300 W"', "surplus_margin_w", 300),
    ("control", 'household_tolerance = "3 kW"', "household_tolerance_w", 3_000),
    ("control", 'deadband_up = "5 %"', "fleet.deadband_up_w", 1_000),
    ("control", 'deadband_down = "0 W"', "fleet.deadband_down_w", 0),
    ("control", 'deadband_order = "50 W"', "fleet.deadband_order_w", 50),
    ("ramp", 'up = "40 %/min"', "ramp.up_w_per_min", 8_000),
    ("ramp", 'down = "9 kW/min"', "ramp.down_w_per_min", 9_000),
    ("ramp", 'up_15s = "500 W"', "ramp.up_w_per_15s", 500),
    ("ramp", 'down_15s = "700 W"', "ramp.down_w_per_15s", 700),
    ("ramp", 'fallback = "1 kW/min"', "ramp.fallback_w_per_min", 1_000),
    ("failsafe", 'hold_after = "4 s"', "inputs.hold_after_s", 4),
    ("failsafe", 'freeze_after = "11 s"', "inputs.freeze_after_s", 11),
    ("failsafe", 'fallback_after = "1 min"', "inputs.fallback_after_s", 60),
    ("failsafe", 'fallback_offset_max = "0 s"', "inputs.fallback_offset_s", 0),
    ("failsafe", 'rearm_after = "5 s"', "inputs.rearm_s", 5),
    ("failsafe", 'frozen_after = "90 s"', "inputs.frozen_after_s", 90),
    ("failsafe", 'balance_tolerance = "3 %"', "inputs.balance_tolerance_ratio", 0.03),
    ("failsafe", 'balance_step = "7 kW"', "inputs.balance_step_w", 7_000),
    ("failsafe", 'balance_after = "6 s"', "inputs.balance_after_s", 6),
    ("failsafe", 'dcs_heartbeat_after = "8 s"', "inputs.dcs_heartbeat_after_s", 8),
    ("failsafe", 'frequency_guard = "49.6 Hz"', "frequency_guard_hz", 49.6),
    ("failsafe", 'frequency_min = "46 Hz"', "frequency_min_hz", 46),
    ("failsafe", 'frequency_max = "54 Hz"', "frequency_max_hz", 54),
    ("fleet", 'dwell_on = "2 min"', "fleet.dwell_on_s", 120),
    ("fleet", 'dwell_off = "3 min"', "fleet.dwell_off_s", 180),
    ("fleet", "starts_per_day = 9", "fleet.starts_per_day", 9),
    ("fleet", 'margin_memory = "1 min"', "fleet.margin_memory_s", 60),
    ("fleet", 'trim_reserve = "20 %"', "fleet.trim_reserve_ratio", 0.2),
    ("fleet", "wakes_per_cycle = 5", "fleet.wakes_per_cycle_max", 5),
    ("fleet", "commands_per_cycle = 7", "fleet.commands_per_cycle_max", 7),
    ("fleet", "adopt_sleepers_at_start = true", "fleet.adopt_sleepers_at_start", True),
    ("fleet", 'mass_disconnect_share = "30 %"', "fleet.mass_disconnect_ratio", 0.3),
    ("fleet", 'mass_disconnect_window = "20 s"', "fleet.mass_disconnect_window_s", 20),
    ("fleet", "learn = false", "fleet.learn", False),
    ("waves", "enabled = false", "fleet.waves.enabled", False),
    ("waves", "first = 7", "fleet.waves.first", 7),
    ("waves", "growth = 2.0", "fleet.waves.growth", 2.0),
    ("waves", 'success_min = "60 %"', "fleet.waves.success_min", 0.6),
    ("waves", 'pause = "1 min"', "fleet.waves.pause_s", 60),
    ("verify", 'tolerance = "9 %"', "fleet.tolerance_ratio", 0.09),
    ("verify", 'tolerance_min = "50 W"', "fleet.tolerance_w", 50),
    ("verify", "deadline_factor = 1.5", "fleet.deadline_factor", 1.5),
    ("verify", 'deadline_extra = "1 s"', "fleet.deadline_extra_s", 1),
    ("verify", "attempts = 4", "fleet.attempts_max", 4),
    ("verify", "drift_reads = 6", "fleet.drift_reads", 6),
    ("verify", 'quarantine = "30 min"', "fleet.quarantine_s", 1_800),
    ("verify", 'telemetry_stale = "20 s"', "fleet.telemetry_stale_s", 20),
    ("dispatch", 'host = "127.0.0.1"\nlease = "required"', "dispatch.lease_required", True),
    ("dispatch", 'heartbeat_lost_after = "60 s"', "dispatch.heartbeat_lost_after_s", 60),
    ("dispatch", 'clock_skew = "1 s"', "dispatch.clock_skew_s", 1),
    ("dispatch", 'issued_at_window = "15 s"', "dispatch.issued_at_window_s", 15),
    ("dispatch", 'lifetime_max = "2 h"', "dispatch.lifetime_max_s", 7_200),
    ("dispatch", "active_max = 3", "dispatch.active_max", 3),
    ("dispatch", "remembered_ids = 500", "dispatch.remembered_ids_max", 500),
]


@pytest.mark.parametrize(("section", "line", "path", "value"), KEYS)
def test_a_key_that_is_set_arrives_in_the_policy(disk: Disk, section: str, line: str, path: str, value: object) -> None:
    before = _at(disk.load().policy(), path)
    disk.edit(disk.site, f"[{section}]\n", f"[{section}]\n{line}\n")
    assert before != value
    after = _at(disk.load().policy(), path)
    assert after == (pytest.approx(value) if isinstance(value, float) else value)


def _at(policy: Policy, path: str) -> object:
    found: object = policy
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _paths_of(kind: type, prefix: str = "") -> Iterator[str]:
    for name, inner in get_type_hints(kind).items():
        if is_dataclass(inner):
            yield from _paths_of(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_number_of_the_policy_has_a_key_tested_above() -> None:
    known = set(_paths_of(Policy))
    structural = {"site_id", "rated_w", "auxiliary_w", "power_span_w", "cycle_s", "required_points", "meter_of_point"}
    assert known - structural == {path for _, _, path, _ in KEYS}


def test_the_fallback_offset_is_the_sites_own_and_never_changes() -> None:
    offsets = [fallback_offset_s(f"site-{number}", 60.0) for number in range(400)]
    assert fallback_offset_s("hill", 60.0) == 58.008
    assert all(0 <= offset < 60 for offset in offsets)
    # even over many sites: each quarter of the span holds about a quarter of them
    counts = [sum(15 * quarter <= offset < 15 * (quarter + 1) for offset in offsets) for quarter in range(4)]
    assert min(counts) > 70


WARNINGS = [
    ("[site]\n", '[site]\nfallback = "1 kW"\n', "site.fallback", "the floor is the lowest"),
    ("[site]\n", '[site]\ncap = "1049 W"\n', "site.cap", "every miner asleep"),
    ("[ramp]\n", '[ramp]\nfallback = "30 %/min"\n', "ramp.fallback", "longer together than grids accept"),
    ('rating = "20 kW"', 'rating = "19 kW"', "site.cap", "the cap can never be reached"),
    ('rating = "20 kW"', 'rating = "5 kW"', "feeder.a.rating", "overloaded whenever its miners start by themselves"),
    ('rated = "20 kW"', 'rated = "6 kW"', "site.rated", "overloaded whenever its miners start by themselves"),
    ("[control]\n", '[control]\nfeedback = "open_loop"\n', "control.feedback", "follows nameplates"),
    ("[control]\n", "[control]\ntrim = false\n", "control.trim", "moves in whole miners"),
    ("[control]\n", '[control]\nmode = "observe"\n', "control.mode", "nothing holds the load"),
    ("[dispatch]\n", '[dispatch]\nhost = "broker.example"\n', "dispatch.tls", "Set tls to true"),
    ("[metrics]\n", '[metrics]\nlisten = "0.0.0.0:9464"\n', "metrics.listen", "no password"),
]


@pytest.mark.parametrize(("old", "new", "key", "words"), WARNINGS)
def test_what_is_allowed_but_hardly_meant_is_warned_of(disk: Disk, old: str, new: str, key: str, words: str) -> None:
    assert disk.load().warnings == ()
    disk.edit(disk.site, old, new)
    warnings = {warning.key: str(warning) for warning in disk.load().warnings}
    assert words in warnings[key]


def test_a_cycle_near_the_watchdog_is_warned_of(disk: Disk) -> None:
    warnings = disk.load({"WATCHDOG_USEC": "3000000"}).warnings
    assert [warning.key for warning in warnings] == ["control.cycle"]
    assert disk.load({"WATCHDOG_USEC": "3100000"}).warnings == ()
