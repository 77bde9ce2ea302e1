"""A recorded grid signal, turned into the surplus the simulated plant offers.

The file format is the one regulation data comes in: a CSV with a column `seconds_of_day` and one column per day, in MW
within [-100, +100], positive when the grid asks for *regulation up*. For a load, regulation up means consume less:
`surplus = base - signal / 100 x capacity`.
"""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Interpolation = Literal["hold", "linear"]

TIME_COLUMN = "seconds_of_day"
SIGNAL_LIMIT_MW = 100.0
DEMO_DAY = "2016-04-18"
DEMO_START_SECOND_OF_DAY = 66_960.0


class TraceError(ValueError):
    """A trace cannot be used. The message names the file, the place in it, and what to do."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One day of signal.

    `second_of_day` and `signal_mw` have the same length n >= 2; the first rises strictly, the second lies within
    [-100, +100] MW.
    """

    day: str
    second_of_day: FloatArray
    signal_mw: FloatArray

    def signal_at(self, second_of_day: float, interpolation: Interpolation) -> float:
        """Return the signal in MW at a second of the day.

        `hold` keeps each sample until the next one, as a set-point telegram does; `linear` joins the samples. Before
        the first and after the last sample the nearest one holds.
        """
        if interpolation == "linear":
            return float(np.interp(second_of_day, self.second_of_day, self.signal_mw))
        index = int(np.searchsorted(self.second_of_day, second_of_day, side="right")) - 1
        return float(self.signal_mw[max(index, 0)])


@dataclass(frozen=True, slots=True)
class SurplusTrace:
    """The surplus over the seconds of a run: `base - signal / 100 x capacity`, never below zero.

    Raises:
        TraceError: when the start lies outside the recorded day, or base or capacity is negative.
    """

    trace: Trace
    start_second_of_day: float
    base_w: float
    capacity_w: float
    interpolation: Interpolation

    def __post_init__(self) -> None:
        first, last = float(self.trace.second_of_day[0]), float(self.trace.second_of_day[-1])
        if not first <= self.start_second_of_day <= last:
            raise TraceError(
                f"day {self.trace.day}: start second {self.start_second_of_day:g} is outside the recording; "
                f"choose one from {first:g} to {last:g}"
            )
        if self.base_w < 0 or self.capacity_w < 0:
            raise TraceError(f"base {self.base_w:g} W and capacity {self.capacity_w:g} W must not be negative")

    def surplus_w(self, t_s: float) -> float:
        """Return the surplus in W, `t_s` seconds after the start of the run."""
        signal_mw = self.trace.signal_at(self.start_second_of_day + t_s, self.interpolation)
        return max(0.0, self.base_w - signal_mw / SIGNAL_LIMIT_MW * self.capacity_w)

    def sample(self, duration_s: float, dt_s: float) -> FloatArray:
        """Return the surplus in W at 0, dt, 2 dt, ... < duration; shape (ceil(duration / dt),)."""
        return np.array([self.surplus_w(t) for t in np.arange(0.0, duration_s, dt_s)], dtype=np.float64)


def bundled_trace_path() -> Path:
    """Return the path of the 24 regulation days that come with the package."""
    return Path(str(resources.files("simulators"))) / "data" / "caiso" / "regulation_4s.csv"


def load_trace(path: Path, day: str | None) -> Trace:
    """Read one day from a CSV file; `day=None` takes the first day column.

    Raises:
        TraceError: missing or unreadable file, missing column, unknown day, a cell that is not a number, a signal
            outside [-100, +100] MW, time that does not rise, or fewer than two samples.
    """
    rows = _rows(path)
    header = rows[0]
    days = [name for name in header if name != TIME_COLUMN]
    chosen = days[0] if day is None else day
    if chosen not in days:
        raise TraceError(f"{path}, line 1: no column '{chosen}'; choose one of {', '.join(days)}")
    return _parse(path, rows, header.index(TIME_COLUMN), header.index(chosen), chosen)


def days_of(path: Path) -> tuple[str, ...]:
    """Return the days a CSV file has a column for, in its order. Raises TraceError when there is none, or no file."""
    return tuple(name for name in _rows(path)[0] if name != TIME_COLUMN)


def _rows(path: Path) -> list[list[str]]:
    """The file's cells; the first row names the time and at least one day."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read ({error}); give the path of a CSV file in UTF-8") from error
    if not rows or TIME_COLUMN not in rows[0]:
        raise TraceError(f"{path}, line 1: no column '{TIME_COLUMN}'; the first line must name it and the days")
    if len(rows[0]) == 1:
        raise TraceError(f"{path}, line 1: no day column beside '{TIME_COLUMN}'; add one column of MW per day")
    return rows


def _parse(path: Path, rows: list[list[str]], time_index: int, signal_index: int, day: str) -> Trace:
    seconds: list[float] = []
    signal: list[float] = []
    for line, row in enumerate(rows[1:], start=2):
        if not row:
            continue  # a blank line at the end is what editors leave behind
        second = _number(path, line, TIME_COLUMN, row, time_index)
        value = _number(path, line, day, row, signal_index)
        if seconds and second <= seconds[-1]:
            raise TraceError(
                f"{path}, line {line}, column '{TIME_COLUMN}': {second:g} does not come after {seconds[-1]:g}; "
                "sort the rows by time and remove doubles"
            )
        if abs(value) > SIGNAL_LIMIT_MW:
            raise TraceError(
                f"{path}, line {line}, column '{day}': {value:g} MW is outside [-100, 100]; scale the signal to +-100"
            )
        seconds.append(second)
        signal.append(value)
    if len(seconds) < 2:
        raise TraceError(f"{path}: {len(seconds)} samples; a trace needs at least two")
    return Trace(day, np.array(seconds, dtype=np.float64), np.array(signal, dtype=np.float64))


def _number(path: Path, line: int, column: str, row: list[str], index: int) -> float:
    text = row[index].strip() if index < len(row) else ""
    try:
        value = float(text)
    except ValueError:
        raise TraceError(f"{path}, line {line}, column '{column}': '{text}' is not a number; write one") from None
    if not np.isfinite(value):
        raise TraceError(f"{path}, line {line}, column '{column}': '{text}' is not finite; write a real number")
    return value
