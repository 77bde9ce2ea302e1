"""Miners as the core sees them: one index per miner, arrays for everything that many miners have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from controller.domain.limits import Limit, LimitTree, build_tree

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.int8]


class Code(IntEnum):
    """A name for a number that stands in arrays.

    numpy asks a comparison's other side how it wants to be treated, and an enum is slow to say that it has no answer:
    with the common one given here, comparing a small array with a member takes a third of the time.
    """

    __array_ufunc__ = np.ndarray.__array_ufunc__


class Condition(Code):
    """What a telemetry read proved about one miner. UNREACHABLE never reads as ASLEEP.

    CONTRADICTS: what answers there says it is another machine than the inventory has; nothing is asked of it.
    """

    UNKNOWN = 0
    HASHING = 1
    ASLEEP = 2
    UNREACHABLE = 3
    CONTRADICTS = 4


class Verdict(Code):
    """What telemetry read after a command proved about it (see core/lifecycle for the transitions)."""

    UNSEEN = 0
    SETTLED = 1
    APPROACHING = 2
    STUCK = 3
    DRIFTED = 4
    QUARANTINED = 5


class GroupVerdict(Code):
    """What a feeder's own meter proved about the miners on it that tell no watts (see core/groups)."""

    UNPROVEN = 0
    PROVED = 1
    CONTRADICTED = 2


@dataclass(frozen=True, slots=True)
class MinerReading:
    """One telemetry read of one miner.

    power_w: watts the miner reports for itself, or the driver's estimate; None when there is neither.
    power_error_w: None when the miner itself reports its watts; for an estimate, how far off it may be.
    level: index of the running profile in the miner's ladder; None when unknown or not in the ladder.
    started_at: loop seconds when the read began; only reads begun after a command can prove it.
    prior: what must be given back one day, in the firmware's own words (a profile name); None when unknown.
    """

    miner: int
    condition: Condition
    power_w: float | None
    hashrate_th: float | None
    level: int | None
    started_at: float
    finished_at: float
    prior: str | None = None
    detail: str = ""
    power_error_w: float | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One rung of a miner's ladder: the name its firmware knows it by and its nominal draw."""

    name: str
    power_w: int
    hashrate_th: float


@dataclass(frozen=True, slots=True)
class ResponseClass:
    """How one model + firmware answers, in seconds, as configured; core/classes learns what it really does.

    Dead time is until power first moves, `*_90_s` is from there until 90 % of the way is gone. wake_patience_s: how
    long a woken one may show nothing and boot all the same; 0 where the other figures say enough.
    """

    name: str
    sleep_dead_s: float
    sleep_90_s: float
    wake_dead_s: float
    wake_90_s: float
    trim_dead_s: float
    trim_90_s: float
    sleep_power_w: int
    wake_patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MinerModel:
    """The envelope of one model + firmware: its ladder (lowest power first) and its response class.

    nameplate_level: index of the rung the maker advertises, the highest that is no overclock; -1 is the top one.
    trims: False when changing the level restarts the miner, so that it is only put to sleep and woken.
    reports_power: False when the miner tells no watts of its own: its draw is estimated, and its feeder is the proof.
    """

    name: str
    levels: tuple[Level, ...]
    response: ResponseClass
    nameplate_level: int = -1
    trims: bool = True
    reports_power: bool = True


@dataclass(frozen=True, slots=True)
class MinerUnit:
    """One row of the inventory as the core needs it. `cap_level` bounds every trim from above.

    family: the firmware's name, one of the few the drivers know; nothing is decided by it, but counted.
    limits: indices of the limits it hangs on beside its feeder: a phase or a container that cuts across.
    """

    miner_id: str
    model: MinerModel
    feeder: int
    cap_level: int
    family: str = "unknown"
    limits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet's fixed facts as arrays; n miners, f feeders, l = longest ladder.

    level_power_w: (n, l) watts per level, the last rung repeated to the right.
    level_count: (n,) rungs of each ladder.
    joule_per_th: (n,) at cap level, lower is better; best_first: (n,) miners in that order.
    feeder: (n,) index into feeder_names and feeder_rating_w. limits: these and all that hangs above or across.
    feeder_inrush_w: (f,) watts of miners that may be starting at once on it, inf for any number.
    kind: (n,) index into class_names: the model with its firmware, whose response is learned together.
    trims, reports_power: (n,) see MinerModel.
    boot_s: (n,) seconds after which half of a boot's watts are there. wake_patience_s: (n,) see ResponseClass.
    sleep_learned, wake_learned, trim_learned: (n,) how many times the configured seconds these figures are; 1 unless
    core/classes learned other ones.
    """

    miner_ids: tuple[str, ...]
    level_power_w: FloatArray
    level_count: IntArray
    cap_level: IntArray
    sleep_power_w: FloatArray
    joule_per_th: FloatArray
    best_first: IntArray
    feeder: IntArray
    feeder_names: tuple[str, ...]
    feeder_rating_w: FloatArray
    limits: LimitTree
    feeder_inrush_w: FloatArray
    kind: IntArray
    class_names: tuple[str, ...]
    sleep_dead_s: FloatArray
    sleep_90_s: FloatArray
    wake_dead_s: FloatArray
    wake_90_s: FloatArray
    trim_dead_s: FloatArray
    trim_90_s: FloatArray
    trims: BoolArray
    reports_power: BoolArray
    boot_s: FloatArray
    wake_patience_s: FloatArray
    sleep_learned: FloatArray
    wake_learned: FloatArray
    trim_learned: FloatArray
    units: tuple[MinerUnit, ...]

    def __len__(self) -> int:
        return len(self.miner_ids)

    def index_of(self, miner_id: str) -> int:
        """Index of a miner; raises KeyError naming it when the inventory does not hold it."""
        try:
            return self.miner_ids.index(miner_id)
        except ValueError:
            raise KeyError(f"no miner {miner_id!r} in the inventory") from None


def build_fleet(
    units: tuple[MinerUnit, ...],
    feeder_names: tuple[str, ...],
    feeder_rating_w: tuple[int, ...],
    feeder_inrush_w: tuple[int | None, ...] = (),
    limits: tuple[Limit, ...] = (),
    feeder_limit: tuple[int | None, ...] = (),
) -> Fleet:
    """Lay the inventory out as arrays. Units are trusted here: configuration checked them.

    feeder_inrush_w, feeder_limit: as many as there are feeders or none, None for a feeder without such a limit.
    """
    rungs = max((len(unit.model.levels) for unit in units), default=1)
    power = np.zeros((len(units), rungs))
    efficiency = np.zeros(len(units))
    for row, unit in enumerate(units):
        ladder = unit.model.levels
        for column in range(rungs):
            power[row, column] = ladder[min(column, len(ladder) - 1)].power_w
        top = ladder[unit.cap_level]
        efficiency[row] = top.power_w / top.hashrate_th

    def column_of(name: str) -> FloatArray:
        return np.array([getattr(unit.model.response, name) for unit in units], dtype=np.float64)

    wake_dead_s, wake_90_s = column_of("wake_dead_s"), column_of("wake_90_s")
    class_names = tuple(sorted({unit.model.name for unit in units}))
    inrush_w = [math.inf if limit_w is None else float(limit_w) for limit_w in feeder_inrush_w]
    return Fleet(
        miner_ids=tuple(unit.miner_id for unit in units),
        level_power_w=power,
        level_count=np.array([len(unit.model.levels) for unit in units], dtype=np.int64),
        cap_level=np.array([unit.cap_level for unit in units], dtype=np.int64),
        sleep_power_w=column_of("sleep_power_w"),
        joule_per_th=efficiency,
        best_first=np.argsort(efficiency, kind="stable"),
        feeder=np.array([unit.feeder for unit in units], dtype=np.int64),
        feeder_names=feeder_names,
        feeder_rating_w=np.array(feeder_rating_w, dtype=np.float64),
        limits=build_tree(
            feeder_names,
            feeder_rating_w,
            limits,
            feeder_limit or (None,) * len(feeder_names),
            ((unit.feeder, unit.limits) for unit in units),
        ),
        feeder_inrush_w=np.array(inrush_w or [math.inf] * len(feeder_names), dtype=np.float64),
        kind=np.array([class_names.index(unit.model.name) for unit in units], dtype=np.int64),
        class_names=class_names,
        sleep_dead_s=column_of("sleep_dead_s"),
        sleep_90_s=column_of("sleep_90_s"),
        wake_dead_s=wake_dead_s,
        wake_90_s=wake_90_s,
        trim_dead_s=column_of("trim_dead_s"),
        trim_90_s=column_of("trim_90_s"),
        trims=np.array([unit.model.trims for unit in units], dtype=np.bool_),
        reports_power=np.array([unit.model.reports_power for unit in units], dtype=np.bool_),
        boot_s=wake_dead_s + 0.5 * wake_90_s,
        wake_patience_s=column_of("wake_patience_s"),
        sleep_learned=np.ones(len(units)),
        wake_learned=np.ones(len(units)),
        trim_learned=np.ones(len(units)),
        units=units,
    )
