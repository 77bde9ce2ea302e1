"""What Prometheus reads of each miner: `/metrics/miners`, written by hand from the arrays of one decision.

Eighty thousand lines at 10,000 miners: made in slices small enough that the loop can do its work between any two. A
figure nobody knows is left out, never 0. docs/status.md lists every family.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from controller.core.estimator import planned_power_w
from controller.core.figures import by_state
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.plan import WHYS, Decision
from controller.runtime.explain import NO_PLAN

SLICE_LINES = 1000  # about a quarter of a millisecond
_NO_PLAN = [code for code, why in enumerate(WHYS) if why in NO_PLAN]
_VERDICTS = tuple(verdict.name.lower() for verdict in Verdict)

Moment = tuple[State, Decision]


@dataclass(frozen=True, slots=True)
class Values:
    """A number for each miner that has one: known (n,), value (n,). Whole numbers are written as such."""

    known: BoolArray
    value: IntArray | FloatArray


@dataclass(frozen=True, slots=True)
class Words:
    """One of a few words for each miner, as a label whose series is 1: code (n,) is the word's place."""

    label: str
    words: Sequence[str]
    code: IntArray


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    text: str
    of: Callable[[Fleet, Moment], Values | Words]


class MinerMetrics:
    """Writes the page of the newest decision. Nothing handed out by the core is ever changed, so a page whose slices
    lie cycles apart is still of one moment."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._moment: Moment | None = None
        self._open = tuple(f'{{miner="{escaped(miner_id)}"' for miner_id in fleet.miner_ids)
        self._info = tuple(
            f'{opened},model="{escaped(unit.model.name)}",firmware="{escaped(unit.family)}",'
            f'feeder="{escaped(fleet.feeder_names[unit.feeder])}"}} 1\n'
            for opened, unit in zip(self._open, fleet.units, strict=True)
        )

    def observe(self, state: State, decision: Decision) -> None:
        self._moment = (state, decision)

    async def page(self) -> AsyncGenerator[str, None]:
        for part in self.slices():
            yield part

    def slices(self) -> Iterator[str]:
        """The page in parts of at most SLICE_LINES series; whoever joins them has one whole page."""
        moment = self._moment
        name = "curtaild_miner_info"
        yield _head(name, "1 for every miner of the inventory, with what it is and where it hangs.")
        for part in self._parts():
            yield "".join([f"{name}{rest}" for rest in self._info[part]])
        if moment is None:
            return
        for family in FAMILIES:
            values = family.of(self._fleet, moment)
            yield _head(family.name, family.text)
            for part in self._parts():
                yield (
                    self._numbers(family.name, values, part)
                    if isinstance(values, Values)
                    else self._words(family.name, values, part)
                )

    def _parts(self) -> Iterator[slice]:
        for first in range(0, len(self._open), SLICE_LINES):
            yield slice(first, first + SLICE_LINES)

    def _numbers(self, name: str, values: Values, part: slice) -> str:
        rows = np.flatnonzero(values.known[part])
        opened = self._open[part]
        # Plain numbers first: one at a time out of an array costs more than all the rest.
        pairs = zip(rows.tolist(), values.value[part][rows].tolist(), strict=True)
        return "".join([f"{name}{opened[row]}}} {value}\n" for row, value in pairs])

    def _words(self, name: str, words: Words, part: slice) -> str:
        ends = [f',{words.label}="{word}"}} 1\n' for word in words.words]
        pairs = zip(self._open[part], words.code[part].tolist(), strict=True)
        return "".join([f"{name}{opened}{ends[code]}" for opened, code in pairs])


def escaped(value: str) -> str:
    """A label's value as the text format wants it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _head(name: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n"


def _power(_: Fleet, moment: Moment) -> Values:
    """Its own word of now: neither an estimate, nor what it said before it fell silent."""
    fleet = moment[0].fleet
    answers = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
    known = answers & np.isfinite(fleet.reported_w) & (fleet.power_error_w == 0.0)
    return Values(known, _whole(fleet.reported_w))


def _expected(_: Fleet, moment: Moment) -> Values:
    state, decision = moment
    return Values(np.isfinite(state.fleet.read_at), _whole(decision.expected_power_w))


def _planned(facts: Fleet, moment: Moment) -> Values:
    state, decision = moment
    plan = decision.allocation
    planned_w = planned_power_w(facts, state.fleet, plan.hashing, plan.level)
    return Values(~np.isin(plan.why, _NO_PLAN), _whole(planned_w))


def _telemetry_age(_: Fleet, moment: Moment) -> Values:
    state, decision = moment
    read_at = state.fleet.read_at
    return Values(np.isfinite(read_at), np.round(decision.now - read_at, 1))


def _failed_attempts(_: Fleet, moment: Moment) -> Values:
    attempts = moment[0].fleet.attempts
    return Values(np.ones(len(attempts), dtype=np.bool_), attempts)


def _state(_: Fleet, moment: Moment) -> Words:
    found = by_state(moment[0])
    code = np.zeros(len(moment[0].fleet.verdict), dtype=np.int64)
    for place, where in enumerate(found.values()):
        code[where] = place
    return Words("state", tuple(found), code)


def _verdict(_: Fleet, moment: Moment) -> Words:
    return Words("verdict", _VERDICTS, moment[0].fleet.verdict.astype(np.int64))


def _whole(values: FloatArray) -> IntArray:
    return np.rint(np.nan_to_num(values, posinf=0.0, neginf=0.0)).astype(np.int64)


FAMILIES: tuple[Family, ...] = (
    Family(
        "curtaild_miner_power_watts",
        "What a miner says that it draws; left out while it does not answer and where it tells no watts.",
        _power,
    ),
    Family("curtaild_miner_expected_watts", "What a miner should be drawing, by what it was told.", _expected),
    Family(
        "curtaild_miner_planned_watts",
        "What the plan wants a miner to draw; left out where no plan touches it.",
        _planned,
    ),
    Family("curtaild_miner_state", "1 for the state a miner is in, the same as in curtaild_miners.", _state),
    Family("curtaild_miner_verdict", "1 for what telemetry proved of what a miner was told.", _verdict),
    Family("curtaild_miner_failed_attempts", "Failed commands since a miner last obeyed one.", _failed_attempts),
    Family(
        "curtaild_miner_telemetry_age_seconds",
        "Age of the newest read that proved something; left out before the first.",
        _telemetry_age,
    ),
)
