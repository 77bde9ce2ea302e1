"""Response classes and waves as `curtaild status` shows them."""

from __future__ import annotations

from controller.domain.command import Verb
from controller.domain.fleet import Fleet
from controller.domain.plan import ClassReport, WaveReport
from controller.runtime.explain import View

VERBS = (Verb.SLEEP.value, Verb.WAKE.value, Verb.TRIM.value)  # in the order of a ClassReport


def class_of(report: ClassReport) -> View:
    """Seconds by verb, and whether they were learned; boots and sleep watts where anybody can say."""
    return {
        "name": report.name,
        "verbs": {
            verb: {
                "dead_s": round(report.dead_s[place], 1),
                "to_90_s": round(report.to_90_s[place], 1),
                "learned": report.learned[place],
                "commands": round(report.commands[place]),
            }
            for place, verb in enumerate(VERBS)
        },
        "boots": round(report.boots),
        "boot_success": None if report.boot_success is None else round(report.boot_success, 3),
        "true_ratio": None if report.true_ratio is None else round(report.true_ratio, 3),
        "sleep_w": None if report.sleep_power_w is None else round(report.sleep_power_w, 1),
    }


def wave_of(facts: Fleet, report: WaveReport) -> View:
    """How many miners of a class are starting on a feeder, and may."""
    stopped_s = report.stopped_for_s
    return {
        "class": report.class_name,
        "feeder": facts.feeder_names[report.feeder],
        "size": report.size,
        "starting": report.starting,
        "stopped_for_s": None if stopped_s is None else round(max(stopped_s, 0.0), 1),
    }
