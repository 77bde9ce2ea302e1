"""The sections about miners: how they may be moved and woken, and when one of them counts as having obeyed."""

from __future__ import annotations

from controller.config.quantities import DerivedDuration, Duration, DurationOrZero, Power, Share
from controller.config.section import Section, key


class FleetRules(Section):
    """How miners may be moved and how they are asked."""

    inventory: str = key(
        "the inventory, beside the site file unless absolute", "fleet.csv", why="the customary name", min_length=1
    )
    dwell_on: DurationOrZero = key(
        "shortest stay hashing, emergencies apart", "15 min", why="starts wear; no pool pays a short run"
    )
    dwell_off: DurationOrZero = key("shortest stay asleep", "10 min", why="boards cool and warm slowly")
    margin_memory: Duration = key(
        "how long a past peak of the surplus keeps miners hashing at reduced power", "5 min", why="spares restarts"
    )
    trim_reserve: Share = key(
        "range the hashing miners keep free upwards, as a share of the load",
        "10 %",
        why="a rise is answered by trim, not by a boot",
    )
    wakes_per_cycle: int | None = key(
        "miners woken in one cycle", None, derived="1 % of the fleet, at least 2", why="waves boot, crowds do not", ge=1
    )
    commands_per_cycle: int | None = key(
        "raising commands sent in one cycle; lowering ones are never limited",
        None,
        derived="20 % of the fleet, at least 50",
        why="the whole fleet within 5 cycles",
        ge=1,
    )
    sweep_period: Duration = key(
        "time from one telemetry read of a miner to the next", "10 s", why="sees a boot in steps"
    )
    call_deadline: Duration = key("one call to one miner, all included", "3 s", why="a healthy miner answers in 0.1 s")
    concurrency: int = key(
        "calls that run at once; a shed makes room after 0.15 s of waiting",
        64,
        why="beyond it one process starves its own deadlines",
        ge=1,
        le=1024,
    )
    starts_per_day: int = key(
        "wakes of one miner in 24 h, those after a shed, a fallback, a lost pool or a blackout not counted. Who has "
        "none left stays asleep, and is put to sleep last. Of miners that hash alike per watt those with the fewest "
        "starts go first",
        6,
        why="every start is a cold boot of chips and power supply",
        ge=1,
        le=500,
    )
    restarts_per_day: int = key(
        "writes to a miner's flash and restarts of its mining that normal moves may cost it in 24 h. A wake keeps room "
        "for the sleep that follows; what the grid needs at once is never withheld. Only firmware that wears counts",
        24,
        why="a sleep and a wake every two hours; a site that moves more does it with other miners",
        ge=2,
        le=1000,
    )
    learn: bool = key(
        "expect of each model what it was seen to do (dead time, seconds to 90 %) instead of what its file says",
        True,
        why="the files rest on vendors' claims and assumptions",
    )
    adopt_sleepers_at_start: bool = key(
        "treat miners found asleep as ours to wake", False, why="somebody may have put them to sleep for a reason"
    )
    mass_disconnect_share: Share = key(
        "so many of the miners that stop answering within the window are one event",
        "20 %",
        why="more than miners fail by themselves, less than one feeder of five or one large switch",
    )
    mass_disconnect_window: DerivedDuration = key(
        "how close together that must be",
        None,
        derived="1.5 times the sweep period",
        why="a sweep looks at everybody once, and a miner that says nothing takes a call deadline more",
    )


class Waves(Section):
    """Miners are woken in waves: so many of a class on a feeder start at once, more when they come up, none for a while
    when they do not."""

    enabled: bool = key(
        "wake in waves; false: as fast as the ramps and wakes_per_cycle let it",
        True,
        why="of 171 started at once 57 % came up",
    )
    first: int = key(
        "miners of one class that may be starting at once on one feeder, at first and after its power was lost",
        40,
        why="half of the waves of 80 that came up in the field",
        ge=1,
        le=10_000,
    )
    growth: float = key("times as many after a wave that came up", 1.5, why="from 40 to 200 in four", ge=1.0, le=4.0)
    success_min: Share = key(
        "share of a wave that must come up, or waking stops",
        "80 %",
        why="one in 30 never starts, however few start beside it",
    )
    pause: Duration = key(
        "how long none of that class is woken on that feeder then; the next wave is half as large",
        "5 min",
        why="supplies cool, breakers are looked at",
    )


class Verification(Section):
    """When a command counts as obeyed. Miners are judged by telemetry read after the command, never by their answer."""

    tolerance: Share = key("how far a miner's power may be from its level", "15 %", why="reported watts miss by 5-20 %")
    tolerance_min: Power = key("this much is always within tolerance", "100 W", why="a sleeping miner draws some watts")
    deadline_factor: float = key(
        "times the response class's time before a miner is stuck", 2.0, why="boot times vary by half", ge=1.0, le=20.0
    )
    deadline_extra: DurationOrZero = key("added to that", "5 s", why="one sweep may fall in between")
    attempts: int = key(
        "commands before a miner is quarantined", 2, why="66 of 173 never start however often asked", ge=1, le=20
    )
    drift_reads: int = key(
        "reads in a row off the plan before a settled miner has drifted", 3, why="one may be noise", ge=1, le=100
    )
    quarantine: Duration = key(
        "how long no plan counts on a miner that does not obey", "1 h", why="a person looks in between"
    )
    telemetry_stale: Duration = key("telemetry older than this proves nothing", "45 s", why="four sweeps missed")
