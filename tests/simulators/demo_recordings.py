"""Hand-made recordings of demo runs, for tests of the arithmetic: the load is written down, so the sums are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simulators.asic.models import Family
from simulators.demo.metrics import FamilyCounts
from simulators.demo.recording import (
    Change,
    CommandRecord,
    DaemonRecord,
    FamilySeries,
    Marker,
    OrderRecord,
    Recording,
    SaidSeries,
    Truth,
)

Shape = Callable[[float], float]

# What the miners of each family draw of a hand-made run's load.
FAMILY_SHARES = {Family.WHATSMINER: 0.5, Family.ANTMINER: 0.3, Family.LUXOS: 0.2}


def recording_of(
    *,
    seconds: float,
    load_w: Shape,
    cap_w: Shape,
    orders: Sequence[OrderRecord] = (),
    changes: Sequence[Change] = (),
    commands: Sequence[CommandRecord] = (),
    markers: Sequence[Marker] = (),
    quarantined: Sequence[str] = (),
    p99_ms: float | None = 5.0,
    exit_code: int | None = 0,
    step_s: float = 0.1,
) -> Recording:
    """A run whose true load and cap follow the given functions of time."""
    t_s = np.round(np.arange(0.0, seconds + step_s / 2, step_s), 6)
    load, cap = (np.array([shape(float(t)) for t in t_s]) for shape in (load_w, cap_w))
    said_t = np.arange(0.0, seconds, 2.0)
    said = np.full(said_t.shape, np.nan)
    said[1:] = 1_000.0
    return Recording(
        duration_s=seconds,
        interrupted=False,
        truth=Truth(t_s, load, cap, cap),
        families=FamilySeries(t_s, {family.value: share * load for family, share in FAMILY_SHARES.items()}),
        said=SaidSeries(said_t, said, said, said, said),
        orders=tuple(orders),
        changes=tuple(changes),
        commands=tuple(commands),
        markers=tuple(markers),
        daemon=DaemonRecord(
            cpu_s=seconds / 10.0,
            rss_mb=90.0,
            exit_code=exit_code,
            status={"quarantined": list(quarantined), "cycle_ms": {"p50": 2.0, "p99": p99_ms, "max": 9.0}},
            commands={"total": 3, "trim": 3},
            verdicts={"total": 3, "settled": 3},
            families={Family.WHATSMINER.value: FamilyCounts({"total": 3, "trim": 3}, {"total": 3, "settled": 3})},
        ),
    )


def cap_order(power_w: float, at_s: float, for_s: float, **answers: float) -> OrderRecord:
    """A cap that was accepted at once unless `answers` say otherwise."""
    heard = answers or {"RECEIVED": at_s, "ACCEPTED": at_s, "REACHED": at_s + 10.0, "EXPIRED": at_s + for_s}
    return OrderRecord("cap", power_w, power_w, at_s, for_s, heard)
