"""What Prometheus reads of response classes and of the waves in which they are woken: written where it changed."""

from __future__ import annotations

import math

from controller.domain.command import Verb
from controller.domain.plan import ClassReport, Decision
from controller.runtime.metric_families import Families

VERBS = (Verb.SLEEP.value, Verb.WAKE.value, Verb.TRIM.value)  # in the order of a ClassReport

# By their name in domain/plan's ClassReport: (name, text).
OF_VERB = {
    "dead_s": ("class_dead_seconds", "Seconds until a miner's power moves, as expected now."),
    "to_90_s": ("class_90_seconds", "Seconds from there until 90 % of the way is gone."),
    "learned": ("class_learned", "1 when these seconds were learned, 0 as configured."),
    "commands": ("class_commands", "Obeyed commands behind what was learned; older ones fade."),
}
OF_CLASS = {
    "boots": ("class_boots", "Wakes that were judged; older ones fade."),
    "boot_success": ("class_boot_success_ratio", "Share of them that was proved hashing in time."),
    "true_ratio": (
        "class_true_ratio",
        "What the site meter shows of them over what they say; NaN until known to 3 %.",
    ),
    "sleep_power_w": ("class_sleep_watts", "What sleepers say that they draw, the middle."),
}


class ClassMetrics:
    """The part of `runtime.metrics.Metrics` that is about classes. docs/status.md lists every family."""

    def __init__(self, families: Families, feeder_names: tuple[str, ...]) -> None:
        self._feeder_names = feeder_names
        self._of_verb = {quantity: families.gauge(*about, "class", "verb") for quantity, about in OF_VERB.items()}
        self._of_class = {quantity: families.gauge(*about, "class") for quantity, about in OF_CLASS.items()}
        cell = ("class", "feeder")
        self._size = families.gauge("restore_wave_miners", "Miners that may be starting at once.", *cell)
        self._starting = families.gauge("restore_starting_miners", "Miners that are starting.", *cell)
        self._stopped = families.gauge("restore_stopped", "1 while none is woken because too few came up.", *cell)
        self._written: dict[str, ClassReport] = {}
        self._shown: dict[tuple[str, str], tuple[int, int, bool]] = {}

    def observe(self, decision: Decision) -> None:
        for report in decision.classes:
            if self._written.get(report.name) != report:
                self._written[report.name] = report
                self._write(report)
        for wave in decision.waves:
            labels = (wave.class_name, self._feeder_names[wave.feeder])
            shown = (wave.size, wave.starting, wave.stopped_for_s is not None)
            if self._shown.get(labels) != shown:
                self._shown[labels] = shown
                for gauge, value in zip((self._size, self._starting, self._stopped), shown, strict=True):
                    gauge.labels(*labels).set(value)

    def _write(self, report: ClassReport) -> None:
        for quantity, gauge in self._of_verb.items():
            for verb, value in zip(VERBS, getattr(report, quantity), strict=True):
                gauge.labels(report.name, verb).set(value)
        for quantity, gauge in self._of_class.items():
            value = getattr(report, quantity)
            gauge.labels(report.name).set(math.nan if value is None else value)
