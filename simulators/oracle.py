"""How much of a surplus a perfect operator could have absorbed: a linear programme with perfect foresight.

It is a relaxation - miners may be switched in fractions, and every rule it models is modelled no tighter than it is -
so its energy is an upper bound for any controller of the same fleet, start state and rules.

Per class and step: units woken and units put to sleep (each with the power curve that follows), units hashing, and
watts trimmed off. For the site: load below the cap, ramp windows, and slack for what no operator could have avoided.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from simulators.oracle_case import OracleClass, OracleSite, RampWindow
from simulators.sparse_rows import SparseRows

FloatArray = npt.NDArray[np.float64]
SLACK_PENALTY = 1_000.0
JOULES_PER_KWH = 3.6e6


class OracleError(RuntimeError):
    """The solver found no answer; the message holds its reason."""


@dataclass(frozen=True, slots=True)
class OracleResult:
    """The best run.

    Attributes:
        absorbed_kwh: energy drawn under the cap, site meter.
        excess_kwh: energy above the cap that no operator could have avoided.
        site_load_w: the load it would have had, W, shape (n,).
        hashing: miners hashing (woken, booting included) per class, shape (classes, n).
    """

    absorbed_kwh: float
    excess_kwh: float
    site_load_w: FloatArray
    hashing: FloatArray


def absorbable(cap_w: FloatArray, dt_s: float, classes: Sequence[OracleClass], site: OracleSite) -> OracleResult:
    """Maximise the energy absorbed under a cap known in advance.

    Where the cap falls, the fall limits of the ramp windows are waived for as long as a fall takes: shedding with a
    falling surplus is free.

    Args:
        cap_w: the cap that held in each step, W at the site meter, shape (n,), n >= 1.
        dt_s: length of a step; 1 or 2 s for a run of minutes, 4 s for hours.
        classes: the fleet; may be empty.
        site: losses, fixed power and ramp windows.

    Raises:
        ValueError: no steps, a step length not above zero, or a negative cap.
        OracleError: the solver gave up.
    """
    if cap_w.size == 0 or dt_s <= 0 or np.any(cap_w < 0):
        raise ValueError("the oracle needs at least one step, dt above 0 and a cap that is nowhere negative")
    model = _Model(cap_w, dt_s, classes, site)
    # Interior point: three to five times as fast as the simplex on these programmes, with the same optimum.
    answer = linprog(  # type: ignore[call-overload]  # the stubs know dense matrices only; scipy documents sparse ones
        model.cost,
        A_ub=model.inequalities.matrix(model.variables),
        b_ub=model.inequalities.bounds(),
        A_eq=model.equalities.matrix(model.variables),
        b_eq=model.equalities.bounds(),
        bounds=np.column_stack((np.zeros(model.variables), model.upper)),
        method="highs-ipm",
    )
    if not answer.success:
        raise OracleError(f"no best run found: {answer.message}")
    x = np.asarray(answer.x, dtype=np.float64)
    load_w = x[model.load] * _KILO
    excess_w = x[model.slack] * _KILO
    hashing = np.array([x[first : first + cap_w.size] for first in model.on]).reshape(len(classes), cap_w.size)
    return OracleResult(
        absorbed_kwh=float((load_w - excess_w).sum()) * dt_s / JOULES_PER_KWH,
        excess_kwh=float(excess_w.sum()) * dt_s / JOULES_PER_KWH,
        site_load_w=load_w,
        hashing=hashing,
    )


_KILO = 1_000.0  # the programme is written in kW, which keeps its coefficients near 1


class _Model:
    """Lays the variables out and writes the constraints. Every block of variables has one entry per step."""

    def __init__(self, cap_w: FloatArray, dt_s: float, classes: Sequence[OracleClass], site: OracleSite) -> None:
        self.steps = cap_w.size
        self.dt_s = dt_s
        self.classes = classes
        self.site = site
        self.cap = cap_w / _KILO
        self.index = np.arange(self.steps, dtype=np.int64)
        self.equalities, self.inequalities = SparseRows(), SparseRows()
        self.variables = 0
        self._uppers: list[FloatArray] = []
        self.load = self._columns(np.inf)
        self.slack = self._columns(np.inf)
        self.on: list[int] = []
        self.cost: FloatArray
        start_kw = (site.fixed_w + sum(self._power_w(fleet, fleet.hashing_at_start) for fleet in classes)) / _KILO
        asleep_kw = (site.fixed_w + sum(self._power_w(fleet, 0) for fleet in classes)) / _KILO
        balance = self.equalities.block(np.full(self.steps, asleep_kw))
        self.equalities.add(balance + self.index, self.load, 1.0)
        for fleet in classes:
            self._add_class(fleet, balance)
        cap_rows = self.inequalities.block(self.cap)
        self.inequalities.add(cap_rows + self.index, self.load, 1.0)
        self.inequalities.add(cap_rows + self.index, self.slack, -1.0)
        for window in site.ramps:
            self._add_ramp(window, start_kw)
        self.upper = np.concatenate(self._uppers)
        self.cost = np.zeros(self.variables)
        self.cost[self.load] = -1.0
        self.cost[self.slack] = SLACK_PENALTY

    def _columns(self, upper: float) -> npt.NDArray[np.int64]:
        first = self.variables
        self.variables += self.steps
        self._uppers.append(np.full(self.steps, upper))
        return first + self.index

    def _power_w(self, fleet: OracleClass, hashing: int) -> float:
        """Power of a class at the site meter with so many of its miners hashing untrimmed."""
        watts = hashing * fleet.full_w + (fleet.count - hashing) * fleet.sleep_w
        return watts * (1.0 + self.site.loss_fraction)

    def _steps_for(self, seconds: float) -> int:
        return math.ceil(seconds / self.dt_s - 1e-9)

    def _curve_increments(self, curve: tuple[tuple[float, float], ...]) -> FloatArray:
        """Return the mean fraction during each step after the command, as increments; they add up to 1."""
        seconds, fractions = (np.array(column, dtype=np.float64) for column in zip(*curve, strict=True))
        count = max(1, self._steps_for(float(seconds[-1])) + 1)
        # Ten points per step: the mean of the curve over a step is what a step's energy needs.
        fine = (np.arange(count * 10) + 0.5) * self.dt_s / 10.0
        levels = np.interp(fine, seconds, fractions, left=0.0).reshape(count, 10).mean(axis=1)
        levels[-1] = 1.0
        return np.diff(levels, prepend=0.0)

    def _add_class(self, fleet: OracleClass, balance: int) -> None:
        """Variables and constraints of one class, and its power in the balance of the site."""
        wake, sleep = self._columns(fleet.count), self._columns(fleet.count)
        on, level, trim = self._columns(fleet.count), self._columns(fleet.count), self._columns(np.inf)
        self.on.append(int(on[0]))
        scale = (1.0 + self.site.loss_fraction) / _KILO
        swing_kw = (fleet.full_w - fleet.sleep_w) * scale
        # The site's power: everything asleep, plus the level of units that hash, less what is trimmed.
        self.equalities.add(balance + self.index, level, -swing_kw)
        self.equalities.add(balance + self.index, trim, scale * _KILO)
        # Units hashing: on[k] = on[k-1] + wake[k] - sleep[k].
        counted = self._recurrence(on, float(fleet.hashing_at_start))
        self.equalities.add(counted + self.index, wake, -1.0)
        self.equalities.add(counted + self.index, sleep, 1.0)
        # Power level in units: follows wakes and sleeps along their curves.
        levelled = self._recurrence(level, float(fleet.hashing_at_start))
        self._add_curve(self.equalities, levelled, wake, fleet.wake_curve, -1.0)
        self._add_curve(self.equalities, levelled, sleep, fleet.sleep_curve, 1.0)
        self._add_dwell(fleet, wake, sleep, on)
        self._add_trim(fleet, level, trim, wake, sleep)

    def _add_curve(
        self,
        rows: SparseRows,
        first: int,
        commands: npt.NDArray[np.int64],
        curve: tuple[tuple[float, float], ...],
        value: float,
    ) -> None:
        """Add to each row `value` x the units whose power moves in that step, after commands in it and before."""
        for delay, part in enumerate(self._curve_increments(curve)[: self.steps]):
            rows.add(first + self.index[delay:], commands[: self.steps - delay], value * float(part))

    def _recurrence(self, state: npt.NDArray[np.int64], start: float) -> int:
        """Add rows state[k] - state[k-1] + ... = 0, with the start in the first; returns the first row."""
        bound = np.zeros(self.steps)
        bound[0] = start
        first = self.equalities.block(bound)
        self.equalities.add(first + self.index, state, 1.0)
        self.equalities.add(first + self.index[1:], state[:-1], -1.0)
        return first

    def _add_dwell(
        self,
        fleet: OracleClass,
        wake: npt.NDArray[np.int64],
        sleep: npt.NDArray[np.int64],
        on: npt.NDArray[np.int64],
    ) -> None:
        """Units woken within the last dwell still hash; units put to sleep within theirs still sleep."""
        # A unit that boots cannot be put to sleep by a curve that starts from full power.
        hashing_steps = int(max(fleet.min_hashing_s, fleet.wake_curve[-1][0]) / self.dt_s)
        asleep_steps = int(max(fleet.min_asleep_s, fleet.sleep_curve[-1][0]) / self.dt_s)
        first = self.inequalities.block(np.zeros(self.steps))
        self.inequalities.add(first + self.index, on, -1.0)
        self._add_window(first, wake, hashing_steps, 1.0)
        first = self.inequalities.block(np.full(self.steps, float(fleet.count)))
        self.inequalities.add(first + self.index, on, 1.0)
        self._add_window(first, sleep, asleep_steps, 1.0)

    def _add_window(self, first: int, columns: npt.NDArray[np.int64], length: int, value: float) -> None:
        """Add the sum of the newest `length` entries of a variable to each row."""
        for delay in range(min(max(length, 1), self.steps)):
            self.inequalities.add(first + self.index[delay:], columns[: self.steps - delay], value)

    def _add_trim(
        self,
        fleet: OracleClass,
        level: npt.NDArray[np.int64],
        trim: npt.NDArray[np.int64],
        wake: npt.NDArray[np.int64],
        sleep: npt.NDArray[np.int64],
    ) -> None:
        """Units are trimmed to the floor at most, at the speed of a trim (kW at the miner).

        A unit may boot straight into its trim and takes it along into sleep: its trim may move as its power does.
        """
        depth_kw = (fleet.full_w - fleet.floor_w) / _KILO
        first = self.inequalities.block(np.zeros(self.steps))
        self.inequalities.add(first + self.index, trim, 1.0)
        self.inequalities.add(first + self.index, level, -depth_kw)
        if fleet.trim_s <= self.dt_s or depth_kw == 0.0:
            return
        reach_kw = depth_kw * fleet.count * self.dt_s / fleet.trim_s
        for sign, moved, curve in ((1.0, wake, fleet.wake_curve), (-1.0, sleep, fleet.sleep_curve)):
            first = self.inequalities.block(np.full(self.steps, reach_kw))
            self.inequalities.add(first + self.index, trim, sign)
            self.inequalities.add(first + self.index[1:], trim[:-1], -sign)
            self._add_curve(self.inequalities, first, moved, curve, -depth_kw)

    def _add_ramp(self, window: RampWindow, start_kw: float) -> None:
        """Limit the change over a window; before the run the load was what it was at the start."""
        length = min(max(1, round(window.window_s / self.dt_s)), self.steps)
        before = np.zeros(self.steps)
        before[:length] = start_kw
        if window.rise_w is not None:
            first = self.inequalities.block(before + window.rise_w / _KILO)
            self.inequalities.add(first + self.index, self.load, 1.0)
            self.inequalities.add(first + self.index[length:], self.load[:-length], -1.0)
        if window.fall_w is None:
            return
        rows = np.flatnonzero(~self._waived(length, start_kw)).astype(np.int64)
        first = self.inequalities.block(window.fall_w / _KILO - before[rows])
        position = np.arange(rows.size, dtype=np.int64) + first
        self.inequalities.add(position, self.load[rows], -1.0)
        earlier = rows >= length
        self.inequalities.add(position[earlier], self.load[rows[earlier] - length], 1.0)

    def _waived(self, length: int, start_kw: float) -> npt.NDArray[np.bool_]:
        """Return which windows hold a fall of the cap, or the seconds before and after in which miners follow it."""
        reach = max((self._steps_for(fleet.sleep_curve[-1][0]) for fleet in self.classes), default=0) + 1
        before = np.concatenate(([max(start_kw, self.cap[0])], self.cap[:-1]))
        waived = np.zeros(self.steps, dtype=np.bool_)
        for k in np.flatnonzero(self.cap < before):
            waived[max(0, k - reach) : k + reach + length] = True
        return waived
