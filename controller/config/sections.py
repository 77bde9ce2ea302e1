"""The site file, section by section: every key with its unit, its default and why that is the default.

The site and its plan are here, its miners in config/fleet_sections, what lies outside in config/outside_sections. These
models are the one place where a key is defined: the reference in docs/configuration.md and the print-out of
`curtaild check` are made from them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.config.fleet_sections import FleetRules, Verification, Waves
from controller.config.outside_sections import (
    ConsoleSettings,
    DispatchSettings,
    JournalSettings,
    LogSettings,
    MeterSettings,
    MetricsSettings,
    RestartRules,
)
from controller.config.quantities import (
    DerivedFrequency,
    DerivedPower,
    DerivedPowerOrShare,
    DerivedRamp,
    DerivedSomePower,
    DerivedSomePowerOrShare,
    Duration,
    DurationOrZero,
    Frequency,
    Power,
    PowerOrShare,
    Ramp,
    Share,
    SomePower,
)
from controller.config.section import NAME_PATTERN, Section, key


class Site(Section):
    """The site itself and its outer limits. All powers are active power at the site meter."""

    id: str = key("name of the site, in topics, metrics and the journal", why="names the site", pattern=NAME_PATTERN)
    rated: SomePower = key(
        "power of the whole site at full load; shares in % refer to it", why="only you know the site"
    )
    cap: DerivedPower = key(
        "the site never draws more, whatever anyone orders", None, derived="rated", why="a contract may allow less"
    )
    auxiliary: Power = key(
        "what the site draws apart from its miners (cooling, network)", why="no order can go below it"
    )
    fallback: DerivedPower = key(
        "what the site ramps to when it is blind, or under a lease has lost its dispatcher",
        None,
        derived="auxiliary",
        why="a load on surplus fails low",
    )
    power_span: SomePower = key(
        "largest power any meter or the plant's block can believably show, generation included; "
        "1.5 x what the plant can generate serves",
        why="anything beyond it is a broken reading",
    )
    frequency: Frequency = key("nominal frequency of the grid", "50 Hz", why="60 Hz in the Americas and elsewhere")
    on_exit: Literal["hold", "fallback"] = key(
        "what a clean stop of the service does to the load", "hold", why="restarting the service moves nothing"
    )


class Control(Section):
    """The control loop."""

    cycle: Duration = key("time from one decision to the next", "1 s", why="as often as the meters have news")
    mode: Literal["control", "observe", "shadow"] = key(
        "observe decides anew each cycle for the fleet as it is, shadow as if in charge of one that obeys; neither "
        "commands anything",
        "control",
        why="observe is for commissioning, shadow for a trial beside another controller",
    )
    trim: bool = key(
        "change the power of hashing miners, not only sleep and wake them", True, why="trim is the fine step"
    )
    feedback: Literal["meter", "open_loop"] = key(
        "open_loop trusts nameplates instead of the site meter and of what hashing miners tell",
        "meter",
        why="open_loop is for comparison runs only",
    )
    surplus_margin: PowerOrShare = key(
        "kept free below the surplus cap",
        "1 %",
        why="covers meter noise and one trim step; nothing else hides a reserve",
    )
    household_tolerance: DerivedPowerOrShare = key(
        "how far the export may fall below despatch before the down-ramp is waived; "
        "what moves by no more proves no meter frozen",
        None,
        derived="the larger of 1 % and 2 meter steps",
        why="smaller is noise, larger takes power from households",
    )
    deadband_up: DerivedPowerOrShare = key(
        "a surplus that rises by less moves nothing",
        None,
        derived="the larger of 1 % and 2 meter steps",
        why="keeps meter noise from waking miners",
    )
    deadband_down: PowerOrShare = key(
        "a surplus that falls by less moves nothing", "0.5 %", why="half the margin, so that the cap still holds"
    )
    deadband_order: DerivedPowerOrShare = key(
        "an order or a fixed limit that is missed by less moves nothing",
        None,
        derived="the larger of 0.1 % and 2 meter steps",
        why="unlike a measured surplus an order has no noise: only the site meter's is left",
    )


class RampLimits(Section):
    """Normal moves. Emergency shedding knows no ramp; see docs/safety.md."""

    up: DerivedRamp = key(
        "fastest rise over a minute",
        None,
        derived="the smaller of 8 MW/min and 8 %/min",
        why="what a boiler can follow",
    )
    down: DerivedRamp = key(
        "fastest normal fall over a minute",
        None,
        derived="the smaller of 20 MW/min and 20 %/min",
        why="the common limit for large loads",
    )
    up_15s: DerivedSomePowerOrShare = key(
        "largest rise within any 15 s",
        None,
        derived="the smallest of 5 MW, 5 % and ramp.up in a minute",
        why="the common limit for large loads",
    )
    down_15s: DerivedSomePowerOrShare = key(
        "largest normal fall within any 15 s",
        None,
        derived="the smallest of 5 MW, 5 % and ramp.down in a minute",
        why="the common limit for large loads",
    )
    fallback: Ramp = key(
        "fall towards the fallback when blind; the 15 s limits do not apply to it",
        "40 %/min",
        why="down within 240 s of losing sight, without a cliff",
    )


class FailSafe(Section):
    """When an input stops being believed, and what follows. Ages count from the start of the read."""

    hold_after: Duration = key(
        "a required input older than this: nothing rises", "3 s", why="three polls of a 1 s meter"
    )
    freeze_after: Duration = key(
        "older than this: the cap may only fall, until the input has been good for rearm_after",
        "10 s",
        why="grid practice",
    )
    fallback_after: Duration = key(
        "older than this (plus this site's own offset): ramp to the fallback", "30 s", why="grid practice"
    )
    fallback_offset_max: DurationOrZero = key(
        "the offset lies between 0 s and this; it follows from the site's id and never changes",
        "60 s",
        why="many sites that lose one broker must not fall together",
    )
    rearm_after: Duration = key(
        "an input must be good for this long before it allows a rise again", "30 s", why="a flapping meter stays out"
    )
    frozen_after: Duration = key(
        "a value identical for this long, while others move, is frozen", "60 s", why="noise moves a live meter sooner"
    )
    balance_tolerance: Share = key(
        "how far generation, auxiliaries, site and export may miss each other, as a share of generation",
        "1 %",
        why="finds a flipped sign or a wrong CT ratio",
    )
    balance_step: DerivedPower = key(
        "the balance may always miss by this much", None, derived="2 meter steps", why="rounding is no error"
    )
    balance_after: Duration = key(
        "a balance wrong for this long is believed", "5 s", why="meters are not read in one instant"
    )
    dcs_heartbeat_after: Duration = key(
        "the plant's heartbeat counter has not moved for this long: its values are stale",
        "10 s",
        why="it counts every second",
    )
    frequency_guard: DerivedFrequency = key(
        "two readings in a row below this shed the site to its auxiliaries, until one is 0.1 % above it",
        None,
        derived="99 % of the nominal frequency",
        why="49.5 Hz at 50 Hz: before consumers are shed; agree it with the grid",
    )
    frequency_min: DerivedFrequency = key(
        "a lower reading is not believed", None, derived="90 % of the nominal frequency", why="45 Hz at 50 Hz"
    )
    frequency_max: DerivedFrequency = key(
        "a higher reading is not believed", None, derived="110 % of the nominal frequency", why="55 Hz at 50 Hz"
    )


class Feeder(Section):
    """One feeder of the site; repeat [[feeder]] for each. Miners name theirs in the inventory."""

    name: str = key("name used in the inventory", why="names the feeder", pattern=NAME_PATTERN)
    rating: SomePower = key("power the feeder may carry", why="stands on the transformer or the breaker")
    limit: str | None = key(
        "name of the [[limit]] it hangs on",
        None,
        derived="none",
        why="a transformer or a container may carry less than its feeders",
    )
    inrush_max: DerivedSomePower = key(
        "power of the miners that may be starting at once on it, all classes together",
        None,
        derived="no limit but the waves'",
        why="what a transformer takes is its maker's to say",
    )


class PowerLimit(Section):
    """What carries several feeders, or cuts across them: a transformer, container or phase; repeat [[limit]] for each.

    Feeders and other limits name theirs; miners name further ones in the inventory.
    """

    name: str = key("name used by feeders, other limits and the inventory", why="names it", pattern=NAME_PATTERN)
    kind: str = key(
        "what it is, in your words: transformer, container, phase", "limit", why="for people", pattern=NAME_PATTERN
    )
    rating: SomePower = key("power of miners it may carry", why="stands on it, less what else hangs there")
    parent: str | None = key(
        "name of the [[limit]] it hangs on itself", None, derived="none", why="most hang on nothing we know"
    )


class Document(Section):
    """The whole site file."""

    site: Site
    control: Control = Field(default_factory=Control)
    ramp: RampLimits = Field(default_factory=RampLimits)
    failsafe: FailSafe = Field(default_factory=FailSafe)
    fleet: FleetRules = Field(default_factory=FleetRules)
    verify: Verification = Field(default_factory=Verification)
    waves: Waves = Field(default_factory=Waves)
    feeder: tuple[Feeder, ...] = Field(default=(), strict=False)
    limit: tuple[PowerLimit, ...] = Field(default=(), strict=False)
    meter: tuple[MeterSettings, ...] = Field(default=(), strict=False)
    dispatch: DispatchSettings = Field(default_factory=DispatchSettings)
    restart: RestartRules = Field(default_factory=RestartRules)
    journal: JournalSettings = Field(default_factory=JournalSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    log: LogSettings = Field(default_factory=LogSettings)
