"""What shadow mode measured, on /metrics: the site in our hands (`shadow`) beside the site as it is (`site`)."""

from __future__ import annotations

import math

from controller.domain.shadow import ShadowReport
from controller.runtime.metric_families import Counter, Families

PARTS = {"absorbed": "absorbed_wh", "unused": "unused_wh", "above_cap": "above_cap_wh"}


class ShadowMetrics:
    """The series that are there in shadow mode alone; their totals go on across restarts."""

    def __init__(self, families: Families) -> None:
        self._load = families.gauge("shadow_load_watts", "What the site would draw in our hands.")
        counter = families.counter
        self._compared = counter("shadow_compared_seconds", "Time in which both could be measured.")
        text = "Energy at or below the cap, left of it, and above it by more than 1 % of rated."
        self._energy = counter("shadow_energy_watt_hours", text, "whose", "part")
        self._above = counter("shadow_above_cap_seconds", "Time above the cap by more than 1 % of rated.", "whose")
        self._switches = counter("shadow_switches", "Miners put to sleep or woken.", "whose")
        self._commands = counter("shadow_commands", "Commands decided, and told nobody.", "verb")
        self._totals: dict[tuple[str, ...], float] = {}

    def observe(self, report: ShadowReport) -> None:
        """Everything one report says."""
        self._load.set(math.nan if report.load_w is None else report.load_w)
        self._raise_to(self._compared, report.compared_s, "compared")
        for whose, tally in (("shadow", report.shadow), ("site", report.site)):
            for part, name in PARTS.items():
                self._raise_to(self._energy.labels(whose, part), getattr(tally, name), "energy", whose, part)
            self._raise_to(self._above.labels(whose), tally.above_cap_s, "above", whose)
            self._raise_to(self._switches.labels(whose), tally.switches, "switches", whose)
        for verb, count in report.commands.items():
            self._raise_to(self._commands.labels(verb), count, "commands", verb)

    def _raise_to(self, counter: Counter, total: float, *key: str) -> None:
        counter.inc(max(total - self._totals.get(key, 0.0), 0.0))
        self._totals[key] = total
