"""The part of `curtaild status` about response classes and waves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.commands.tables import table

View = Mapping[str, Any]


def class_lines(view: View) -> list[str]:
    """What was learned of classes, and waves that are under way or stopped; nothing while there is neither."""
    lines: list[str] = []
    learned = [entry for entry in view.get("classes", []) if entry["boots"] or _learned(entry)]
    if learned:
        lines += ["", "classes"]
        lines += table([_class_row(entry) for entry in learned])
    waves = [wave for wave in view.get("waves", []) if wave["starting"] or wave["stopped_for_s"] is not None]
    if waves:
        lines += ["", "waves"]
        lines += table([_wave_row(wave) for wave in waves])
    return lines + ([""] if lines else [])


def _learned(entry: View) -> dict[str, Any]:
    return {verb: about for verb, about in entry["verbs"].items() if about["learned"]}


def _class_row(entry: View) -> list[str]:
    boots = (
        "no boot judged" if entry["boot_success"] is None else f"{100 * entry['boot_success']:.0f} % of boots come up"
    )
    seconds = [
        f"{verb} {about['dead_s']} + {about['to_90_s']} s (learned of {about['commands']})"
        for verb, about in _learned(entry).items()
    ]
    asleep = [] if entry["sleep_w"] is None else [f"asleep {entry['sleep_w']:.0f} W"]
    true = [] if entry.get("true_ratio") is None else [f"draws {entry['true_ratio']:.1%} of what it says"]
    return [entry["name"], boots, ", ".join([*seconds, *asleep, *true])]


def _wave_row(wave: View) -> list[str]:
    size = f"{wave['starting']} starting of {wave['size']} at once"
    stopped = "" if wave["stopped_for_s"] is None else f"stopped for {wave['stopped_for_s']:.0f} s: too few came up"
    return [wave["class"], wave["feeder"], size, stopped]
