"""Limits that contradict each other, as one table. docs/configuration.md prints it; each row has its test.

A row that refuses stops the start; a row that warns is printed and logged, because somebody may have meant it.
Longer than a page, for whoever adds a row must see the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controller.config.inventory import Miner
from controller.config.outside_sections import MeterSettings
from controller.config.resolve import Numbers
from controller.config.sections import Document


class Severity(StrEnum):
    REFUSE = "refuse"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Facts:
    """All a rule may look at. `miners` are the enabled ones, in the fleet's order; those that could be read."""

    document: Document
    numbers: Numbers
    miners: tuple[Miner, ...]
    watchdog_s: float | None
    inventory_faulty: bool

    @property
    def floor_w(self) -> float:
        """What stays when every miner sleeps: auxiliaries and sleep watts."""
        return self.numbers["site.auxiliary"] + sum(miner.model.response.sleep_power_w for miner in self.miners)

    @property
    def full_load_w(self) -> float:
        """Every miner at its cap profile, and the auxiliaries."""
        feeders = {miner.feeder for miner in self.miners}
        return self.numbers["site.auxiliary"] + sum(self.cap_power_w(feeder) for feeder in feeders)

    def cap_power_w(self, feeder: str) -> int:
        """What the feeder's miners draw together, each at its cap profile."""
        return sum(miner.model.levels[miner.cap_level].power_w for miner in self.miners if miner.feeder == feeder)


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule at one key. A reason of its own takes the place of the rule's."""

    key: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """`states` is what must hold, in words; `look` yields a Finding for every key at which it does not."""

    states: str
    because: str
    advice: str
    look: Callable[[Facts], Iterable[Finding]]
    severity: Severity = Severity.REFUSE


def order(smaller: str, larger: str, because: str, advice: str, *, equal: bool = True) -> Rule:
    """A rule of the commonest shape: one key must not exceed (or, not equal, must stay below) another."""

    def look(facts: Facts) -> Iterator[Finding]:
        left, right = facts.numbers[smaller], facts.numbers[larger]
        if left > right or (not equal and left == right):
            yield Finding(smaller)

    relation = "is at most" if equal else "is less than"
    return Rule(f"{smaller} {relation} {larger}", because, advice, look)


def per_meter(wrong: Callable[[MeterSettings, Numbers], bool], key: str) -> Callable[[Facts], Iterator[Finding]]:
    """Looks at every meter; the finding is at its `key`."""

    def look(facts: Facts) -> Iterator[Finding]:
        for meter in facts.document.meter:
            if wrong(meter, facts.numbers):
                yield Finding(f"meter.{meter.id}.{key}")

    return look


def when(key: str, wrong: Callable[[Facts], bool]) -> Callable[[Facts], Iterator[Finding]]:
    """The finding is at `key` whenever `wrong`."""

    def look(facts: Facts) -> Iterator[Finding]:
        if wrong(facts):
            yield Finding(key)

    return look


def _watchdog(share: float) -> Callable[[Facts], bool]:
    return lambda facts: facts.watchdog_s is not None and facts.document.control.cycle >= share * facts.watchdog_s


def _slowest_boot_s(facts: Facts) -> float:
    return max((m.model.response.wake_dead_s + m.model.response.wake_90_s for m in facts.miners), default=0.0)


def _smallest_level_w(facts: Facts) -> float:
    return min((m.model.levels[0].power_w for m in facts.miners), default=float("inf"))


def _seconds_to_fallback(facts: Facts) -> float:
    n = facts.numbers
    way_w = max(0.0, n["site.cap"] - n["site.fallback"])
    return n["failsafe.fallback_after"] + n["failsafe.fallback_offset_max"] + 60 * way_w / n["ramp.fallback"]


def _feeders_over_rating(facts: Facts) -> Iterator[Finding]:
    for feeder in facts.document.feeder:
        if facts.cap_power_w(feeder.name) > feeder.rating:
            yield Finding(f"feeder.{feeder.name}.rating")


SECONDS_TO_FALLBACK_MAX: Final = 240.0

LIMITS: Final[tuple[Rule, ...]] = (
    order(
        "site.cap",
        "site.rated",
        "the site cannot carry more than it is rated for",
        "lower the cap or correct the rating",
    ),
    order(
        "site.auxiliary",
        "site.cap",
        "no watt is left for miners",
        "raise the cap or correct the auxiliary",
        equal=False,
    ),
    order(
        "site.fallback",
        "site.cap",
        "the fallback would break the cap just when the site is blind",
        "lower the fallback",
    ),
    order(
        "site.rated",
        "site.power_span",
        "full load would read as implausible",
        "raise the span above what the plant can generate",
    ),
    order("control.surplus_margin", "site.rated", "no surplus would ever be used", "1 % is usual", equal=False),
    order(
        "control.deadband_down",
        "control.surplus_margin",
        "the load could stay above the cap without a move",
        "lower the deadband or raise the margin",
    ),
    order(
        "control.cycle", "failsafe.hold_after", "every cycle would see stale inputs", "shorten the cycle", equal=False
    ),
    order(
        "failsafe.hold_after", "failsafe.freeze_after", "doubt grows in steps: hold, freeze, fall", "put them in order"
    ),
    order(
        "failsafe.freeze_after",
        "failsafe.fallback_after",
        "doubt grows in steps: hold, freeze, fall",
        "put them in order",
    ),
    order("failsafe.hold_after", "failsafe.frozen_after", "a slow meter would read as frozen", "raise frozen_after"),
    order(
        "failsafe.frequency_min",
        "failsafe.frequency_guard",
        "the guard could never trip",
        "lower frequency_min",
        equal=False,
    ),
    order(
        "failsafe.frequency_guard",
        "site.frequency",
        "a healthy grid would read as an emergency",
        "lower the guard below the nominal frequency",
        equal=False,
    ),
    order(
        "site.frequency",
        "failsafe.frequency_max",
        "a healthy grid would not be believed",
        "raise frequency_max",
        equal=False,
    ),
    order("ramp.up_15s", "ramp.up", "15 s would allow more than the whole minute", "lower up_15s or raise up"),
    order("ramp.down_15s", "ramp.down", "15 s would allow more than the whole minute", "lower down_15s or raise down"),
    order(
        "fleet.call_deadline",
        "fleet.sweep_period",
        "sweeps would overtake each other",
        "shorten the deadline",
        equal=False,
    ),
    order(
        "fleet.sweep_period",
        "verify.telemetry_stale",
        "telemetry would be stale before the next read",
        "raise telemetry_stale to some sweeps",
        equal=False,
    ),
    order(
        "fleet.sweep_period",
        "fleet.mass_disconnect_window",
        "a sweep could find them one by one and never many at once",
        "widen the window",
    ),
    Rule(
        "fleet.mass_disconnect_share is at least 2 %",
        "every handful of miners that fail would be a mass disconnect",
        "raise it",
        when("fleet.mass_disconnect_share", lambda f: f.document.fleet.mass_disconnect_share < 0.02),
    ),
    order("fleet.wakes_per_cycle", "fleet.commands_per_cycle", "a wake is a command", "lower wakes_per_cycle"),
    order(
        "dispatch.clock_skew",
        "dispatch.issued_at_window",
        "the window would be no wider than the doubt about clocks",
        "widen the window",
        equal=False,
    ),
    Rule(
        "control.cycle is less than systemd's watchdog",
        "systemd would kill a healthy process",
        "shorten the cycle or raise WatchdogSec in the unit",
        when("control.cycle", _watchdog(1.0)),
    ),
    Rule(
        "control.cycle is less than a third of systemd's watchdog",
        "one slow cycle is enough for systemd to kill the process",
        "raise WatchdogSec in the unit",
        when("control.cycle", lambda facts: _watchdog(1 / 3)(facts) and not _watchdog(1.0)(facts)),
        Severity.WARN,
    ),
    Rule(
        "control.household_tolerance is at least 2 meter steps",
        "rounding alone would look like power taken from households",
        "raise it, or state the meters' resolution",
        when(
            "control.household_tolerance",
            lambda f: f.numbers["control.household_tolerance"] < 2 * f.numbers["meter.step"],
        ),
    ),
    Rule(
        "fleet.dwell_on is at least the slowest boot in the fleet",
        "a miner could be put to sleep before it ever hashed",
        "raise dwell_on above the boot time",
        when("fleet.dwell_on", lambda f: f.document.fleet.dwell_on < _slowest_boot_s(f)),
    ),
    Rule(
        "verify.tolerance_min is less than half of the smallest profile in the fleet",
        "asleep and hashing could not be told apart",
        "lower tolerance_min",
        when("verify.tolerance_min", lambda f: f.document.verify.tolerance_min >= 0.5 * _smallest_level_w(f)),
    ),
    Rule(
        "meter poll is less than failsafe.hold_after",
        "the reading would be stale before the next one is due",
        "poll more often or raise hold_after",
        per_meter(lambda meter, n: meter.poll >= n["failsafe.hold_after"], "poll"),
    ),
    Rule(
        "meter deadline is less than its poll",
        "a slow read would still run when the next is due",
        "shorten the deadline",
        per_meter(lambda meter, _: meter.deadline >= meter.poll, "deadline"),
    ),
    Rule(
        "meter reconnect_first is at most its reconnect_max",
        "the pause only grows",
        "lower reconnect_first",
        per_meter(lambda meter, _: meter.reconnect_first > meter.reconnect_max, "reconnect_first"),
    ),
    Rule(
        "plant poll is at most half of failsafe.dcs_heartbeat_after",
        "one missed read would look like a dead plant controller",
        "poll more often or raise dcs_heartbeat_after",
        per_meter(lambda m, n: m.feeds == "plant" and 2 * m.poll > n["failsafe.dcs_heartbeat_after"], "poll"),
    ),
    Rule(
        "the floor (auxiliaries and every miner asleep) is at most site.cap",
        "the site breaks its cap with every miner asleep",
        "raise the cap or correct the auxiliary",
        when("site.cap", lambda f: f.floor_w > f.numbers["site.cap"]),
        Severity.WARN,
    ),
    Rule(
        "the floor (auxiliaries and every miner asleep) is at most site.fallback, once that is set",
        "sleeping miners draw more than the fallback allows, so the floor is the lowest the site can go",
        "raise the fallback to the floor, or ignore this",
        when(
            "site.fallback",
            lambda f: f.document.site.fallback is not None and f.floor_w > f.numbers["site.fallback"],
        ),
        Severity.WARN,
    ),
    Rule(
        "the site is at its fallback 240 s after it went blind",
        "losing sight, the largest offset and the ramp take longer together than grids accept",
        "raise ramp.fallback, or lower fallback_after or fallback_offset_max",
        when("ramp.fallback", lambda f: _seconds_to_fallback(f) > SECONDS_TO_FALLBACK_MAX + 1e-6),
        Severity.WARN,
    ),
    Rule(
        "the feeders together carry site.cap",
        "the cap can never be reached",
        "correct the ratings, or lower the cap",
        when(
            "site.cap",
            lambda f: bool(f.document.feeder) and sum(x.rating for x in f.document.feeder) < f.numbers["site.cap"],
        ),
        Severity.WARN,
    ),
    Rule(
        "a feeder carries all its miners at their cap profiles",
        "the feeder is overloaded whenever its miners start by themselves, for example after a blackout",
        "move miners to another feeder, or give them lower cap profiles",
        _feeders_over_rating,
        Severity.WARN,
    ),
    Rule(
        "every miner at its cap profile and the auxiliaries draw at most site.rated",
        "the site is overloaded whenever its miners start by themselves, for example after a blackout",
        "lower cap profiles, or correct the rating",
        when("site.rated", lambda f: f.full_load_w > f.document.site.rated),
        Severity.WARN,
    ),
    Rule(
        "control.feedback is meter",
        "without the site meter the load follows nameplates, which are 5-20 % off",
        "set it to meter unless this is a comparison run",
        when("control.feedback", lambda f: f.document.control.feedback == "open_loop"),
        Severity.WARN,
    ),
    Rule(
        "control.trim is true",
        "without trim the load moves in whole miners",
        "set it to true unless the firmware cannot trim",
        when("control.trim", lambda f: not f.document.control.trim),
        Severity.WARN,
    ),
    Rule(
        "control.mode is control",
        "in observe and shadow mode nothing holds the load under the cap",
        "set it to control once commissioning or the trial is over",
        when("control.mode", lambda f: f.document.control.mode != "control"),
        Severity.WARN,
    ),
)
