"""What shadow mode measures: what a site in our hands would have done, beside what it did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """One of the two, the site as it is or in our hands, since shadow mode began. Energies are watt-hours at the meter.

    absorbed_wh: drawn at or below the cap. unused_wh: left of it. above_cap_wh, above_cap_s: beyond it by more than a
    hundredth of rated. switches: miners put to sleep or woken.
    """

    absorbed_wh: float = 0.0
    unused_wh: float = 0.0
    above_cap_wh: float = 0.0
    above_cap_s: float = 0.0
    switches: int = 0

    def add(self, load_w: float, cap_w: float, tolerance_w: float, seconds: float) -> None:
        """Some seconds at a load, under a cap."""
        hours = seconds / 3600.0
        self.absorbed_wh += min(load_w, cap_w) * hours
        self.unused_wh += max(cap_w - load_w, 0.0) * hours
        if load_w > cap_w + tolerance_w:
            self.above_cap_wh += (load_w - cap_w) * hours
            self.above_cap_s += seconds


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """load_w: what the site would draw in our hands, None before it was measured.

    compared_s: seconds in which both could be measured.
    commands: those decided, by verb; nobody was told any of them.
    """

    load_w: float | None
    compared_s: float
    shadow: Tally
    site: Tally
    commands: dict[str, int] = field(default_factory=dict)
