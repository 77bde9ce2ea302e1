"""The sentences a scenario may expect, each with what checks it by true power and by what was decided.

Shares are of the fleet's rated power, times are seconds of the run. The floor is what no order could take off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from controller.domain.command import Verb
from controller.domain.fleet import FloatArray
from tests.rig.check_load import load_under_cap
from tests.rig.checkers import judge
from tests.rig.record import CycleRow, Record
from tests.rig.setup import Setup

FLOOR_SHARE = 0.02  # of rated: so near is there
_FIELDS = {
    "{s}": r"(\d+(?:\.\d+)?) s",
    "{%}": r"(\d+(?:\.\d+)?) %",
    "{n}": r"(\d+)",
    "{name}": r"([A-Za-z][\w-]*)",
}


class UnknownSentenceError(ValueError):
    """Nothing checks this sentence. The message lists those there are."""


@dataclass(frozen=True, slots=True)
class Found:
    """One sentence against one run, with the figure that decided it."""

    sentence: str
    holds: bool
    figure: str


class Run:
    """One run, with what the checks ask of it. Shares are percent of rated."""

    def __init__(self, setup: Setup, record: Record) -> None:
        self.setup, self.record = setup, record
        self.t_s, load_w, cap_w, stubborn_w = record.arrays()
        to_percent = 100.0 / setup.policy.rated_w
        self.load, self.cap, self.floor = load_w * to_percent, cap_w * to_percent, stubborn_w * to_percent

    def of(self, values: FloatArray, begin: str, end: str) -> FloatArray:
        """The values between two times."""
        inside: FloatArray = values[(self.t_s >= float(begin)) & (self.t_s <= float(end))]
        if not len(inside):
            raise UnknownSentenceError(f"the run has nothing between {begin} s and {end} s")
        return inside

    def cycles(self, begin: str, end: str) -> Iterator[CycleRow]:
        return (row for row in self.record.cycles if float(begin) <= row.at_s <= float(end))

    def largest_change(self, within: str, begin: str, end: str) -> tuple[float, float]:
        """(rise, fall) in percent between any two moments so near to one another."""
        load, steps = self.of(self.load, begin, end), round(float(within) / float(self.t_s[1] - self.t_s[0]))
        windows = np.lib.stride_tricks.sliding_window_view(load, min(steps + 1, len(load)))
        return float((windows[:, -1] - windows[:, 0]).max()), float((windows[:, 0] - windows[:, -1]).max())


Check = Callable[..., tuple[bool, str]]
SENTENCES: dict[str, Check] = {}


def _says(sentence: str) -> Callable[[Check], Check]:
    def keep(checks: Check) -> Check:
        SENTENCES[sentence] = checks
        return checks

    return keep


def check(sentence: str, run: Run) -> Found:
    """One sentence against a run. Raises UnknownSentenceError."""
    form = known(sentence)
    found = _pattern(form).fullmatch(sentence)
    return Found(sentence, *SENTENCES[form](run, *(found.groups() if found else ())))


def known(sentence: str) -> str:
    """The form among SENTENCES that this sentence has. Raises UnknownSentenceError."""
    form = next((form for form in SENTENCES if _pattern(form).fullmatch(sentence)), None)
    if form is None:
        raise UnknownSentenceError(f"nobody checks '{sentence}'; there are:\n  " + "\n  ".join(SENTENCES))
    return form


def _pattern(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    for field, means in _FIELDS.items():
        pattern = pattern.replace(re.escape(field), means)
    return re.compile(pattern)


@_says("the load never stays above the cap longer than physics allows")
def _under_cap(run: Run) -> tuple[bool, str]:
    breaches = load_under_cap(run.setup, run.record)
    return not breaches, f"{breaches[0].text} at {breaches[0].at_s:.1f} s" if breaches else "never"


@_says("the load is never above {%} between {s} and {s}")
def _never_above(run: Run, share: str, begin: str, end: str) -> tuple[bool, str]:
    highest = float(run.of(run.load, begin, end).max())
    return highest <= float(share), f"{highest:.1f} %"


@_says("the load is never below {%} between {s} and {s}")
def _never_below(run: Run, share: str, begin: str, end: str) -> tuple[bool, str]:
    lowest = float(run.of(run.load, begin, end).min())
    return lowest >= float(share), f"{lowest:.1f} %"


@_says("the load moves less than {%} between {s} and {s}")
def _moves_less(run: Run, share: str, begin: str, end: str) -> tuple[bool, str]:
    moved = float(np.ptp(run.of(run.load, begin, end)))
    return moved < float(share), f"{moved:.1f} %"


@_says("the load is at the floor between {s} and {s}")
def _at_floor(run: Run, begin: str, end: str) -> tuple[bool, str]:
    above = float((run.of(run.load, begin, end) - run.of(run.floor, begin, end)).max())
    return above <= 100.0 * FLOOR_SHARE, f"{above:.1f} % above it"


@_says("the mean load is within {%} of {%} between {s} and {s}")
def _mean_within(run: Run, tolerance: str, share: str, begin: str, end: str) -> tuple[bool, str]:
    mean = float(run.of(run.load, begin, end).mean())
    return abs(mean - float(share)) <= float(tolerance), f"{mean:.1f} %"


@_says("the load follows the cap within {%} between {s} and {s}")
def _follows_cap(run: Run, share: str, begin: str, end: str) -> tuple[bool, str]:
    apart = float(np.abs(run.of(run.load, begin, end) - run.of(run.cap, begin, end)).mean())
    return apart <= float(share), f"{apart:.1f} % apart on average"


@_says("at least {%} of the surplus is taken between {s} and {s}")
def _takes(run: Run, share: str, begin: str, end: str) -> tuple[bool, str]:
    cap = np.minimum(run.of(run.cap, begin, end), 100.0)
    taken = 100.0 * float(np.minimum(run.of(run.load, begin, end), cap).sum() / cap.sum())
    return taken >= float(share), f"{taken:.1f} %"


@_says("the load rises at most {%} in any {s} between {s} and {s}")
def _rises(run: Run, share: str, within: str, begin: str, end: str) -> tuple[bool, str]:
    rise, _ = run.largest_change(within, begin, end)
    return rise <= float(share), f"{rise:.1f} %"


@_says("the load falls at most {%} in any {s} between {s} and {s}")
def _falls(run: Run, share: str, within: str, begin: str, end: str) -> tuple[bool, str]:
    _, fall = run.largest_change(within, begin, end)
    return fall <= float(share), f"{fall:.1f} %"


@_says("nothing is shed between {s} and {s}")
def _no_shed(run: Run, begin: str, end: str) -> tuple[bool, str]:
    at = next((row.at_s for row in run.cycles(begin, end) if row.shed), None)
    return at is None, "nothing" if at is None else f"shed at {at:.1f} s"


@_says("the site is shed within {s} of {s}")
def _shed_within(run: Run, within: str, begin: str) -> tuple[bool, str]:
    end = str(float(begin) + float(within))
    at = next((row.at_s for row in run.cycles(begin, "1e9") if row.shed), None)
    return at is not None and at <= float(end), "never" if at is None else f"after {at - float(begin):.1f} s"


@_says("no command raises between {s} and {s}")
def _no_raise(run: Run, begin: str, end: str) -> tuple[bool, str]:
    raising = [
        row.at_s for row in run.cycles(begin, end) for one in row.commands if one.raises or one.verb is Verb.WAKE
    ]
    return not raising, f"{len(raising)} commands, first at {raising[0]:.1f} s" if raising else "none"


@_says("at most {n} commands are sent between {s} and {s}")
def _few_commands(run: Run, most: str, begin: str, end: str) -> tuple[bool, str]:
    sent = sum(len(row.commands) for row in run.cycles(begin, end))
    return sent <= int(most), f"{sent}"


@_says("the event {name} is seen between {s} and {s}")
def _event_seen(run: Run, name: str, begin: str, end: str) -> tuple[bool, str]:
    at = [when for when, what, _, _ in run.record.events if what == name]
    inside = [when for when in at if float(begin) <= when <= float(end)]
    return bool(inside), f"at {', '.join(f'{when:.1f}' for when in at[:5])} s" if at else "never"


@_says("the event {name} is seen {n} times in all")
def _event_count(run: Run, name: str, times: str) -> tuple[bool, str]:
    count = sum(what == name for _, what, _, _ in run.record.events)
    return count == int(times), f"{count} times"


@_says("the inputs are {name} between {s} and {s}")
def _inputs(run: Run, state: str, begin: str, end: str) -> tuple[bool, str]:
    other = next((row for row in run.cycles(begin, end) if row.fail_safe != state), None)
    return other is None, "always" if other is None else f"{other.fail_safe} at {other.at_s:.1f} s"


@_says("the setpoint is bound by {name} at {s}")
def _bound(run: Run, bound: str, at: str) -> tuple[bool, str]:
    row = next(run.cycles(at, "1e9"), None)
    return row is not None and row.bound == bound, "no cycle" if row is None else row.bound


@_says("the order {name} is answered {name}")
def _answered(run: Run, order: str, status: str) -> tuple[bool, str]:
    said = [answer.status.value for _, answer in run.record.answers if answer.dispatch_id == order]
    return status in said, ", ".join(said) or "nothing"


@_says("no miner is quarantined")
def _none_quarantined(run: Run) -> tuple[bool, str]:
    return not run.record.quarantined_at, f"{len(run.record.quarantined_at)}"


@_says("no rule of the swarm is broken")
def _rules(run: Run) -> tuple[bool, str]:
    breaches = judge(run.setup, run.record)
    first = f"{breaches[0].checker} at {breaches[0].at_s:.1f} s: {breaches[0].text}" if breaches else "none"
    return not breaches, first


@_says("the setpoint is never below {%} between {s} and {s}")
def _setpoint_above(run: Run, share: str, begin: str, end: str) -> tuple[bool, str]:
    lowest = min(100.0 * row.setpoint_w / run.setup.policy.rated_w for row in run.cycles(begin, end))
    return lowest >= float(share), f"{lowest:.1f} %"
