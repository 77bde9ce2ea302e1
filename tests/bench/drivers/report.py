"""From the clocks of every round to the table, the JSON and the three lines to reach."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.drivers.measure import Cost, Run

Rounds = Sequence[Run]
Block = Mapping[str, Rounds]
"""What one mix of miners gave: the rounds of every contestant, by its name."""

OURS, ACTUATOR, RAW, GATHER, RS = "ours", "ours_actuator", "raw", "pyasic_gather", "pyasic_rs"
SEMAPHORES = {64: "pyasic_semaphore_64", 256: "pyasic_semaphore_256"}
TITLES = {
    GATHER: "(a) pyasic, gather",
    SEMAPHORES[64]: "(b) pyasic, 64 at once",
    SEMAPHORES[256]: "(b) pyasic, 256 at once",
    OURS: "(c) ours",
    ACTUATOR: "(c) ours, behind the actuator",
    RAW: "(d) by hand",
    RS: "(e) pyasic_rs",
}
REACH_WARM_S = 1.0
REACH_CPU_RATIO = 1.6
REACH_BLOCK_MS = 20.0
COLUMNS = {
    "warm s": "warm_s",
    "cold s": "cold_s",
    "warm CPU ms/miner": "warm_cpu_ms_per_miner",
    "cold CPU ms/miner": "cold_cpu_ms_per_miner",
    "warm block ms": "warm_block_ms",
    "warm busy ms": "warm_busy_ms",
    "sweep s": "sweep_s",
    "sweep CPU s": "sweep_cpu_s",
}


def document(mixed: Block, families: Mapping[str, Block], counts: Mapping[str, int], rounds: int) -> dict[str, Any]:
    """Everything the bench knows, ready for JSON. Times of a phase that was not carried out are null."""
    miners = sum(counts.values())
    return {
        f"mixed_{miners}": headline(mixed, miners),
        "families": {
            family: {"miners": counts[family], **contestants(block, counts[family])}
            for family, block in families.items()
        },
        "mixed": {"miners": miners, **contestants(mixed, miners)},
        "mix": dict(counts),
        "rounds": rounds,
        "reach": reach(mixed, miners),
        "machine": machine(),
    }


def headline(mixed: Block, miners: int) -> dict[str, float | None]:
    """The six figures of our drivers."""
    ours = mixed[OURS]
    return {
        "warm_s": median(ours, warm, wall),
        "cold_s": median(ours, cold, wall),
        "cpu_ms_per_miner": median(ours, warm, lambda cost: cost.cpu_s * 1e3 / miners),
        "cpu_ratio_to_raw": cpu_ratio(mixed),
        "loop_block_ms_max": worst_block_ms(ours),
        "sweep_cpu_s": median(ours, sweep, lambda cost: cost.cpu_s),
    }


def contestants(block: Block, miners: int) -> dict[str, Any]:
    """Every contestant's figures: median, least and most of the rounds."""

    def per_miner(cost: Cost) -> float:
        return cost.cpu_s * 1e3 / miners

    return {
        name: {
            "warm_s": spread(rounds, warm, wall),
            "cold_s": spread(rounds, cold, wall),
            "warm_cpu_ms_per_miner": spread(rounds, warm, per_miner),
            "cold_cpu_ms_per_miner": spread(rounds, cold, per_miner),
            "warm_block_ms": spread(rounds, warm, lambda cost: cost.block_ms),
            "cold_block_ms": spread(rounds, cold, lambda cost: cost.block_ms),
            "warm_busy_ms": spread(rounds, warm, lambda cost: cost.busy_ms),
            "cold_busy_ms": spread(rounds, cold, lambda cost: cost.busy_ms),
            "sweep_cpu_s": spread(rounds, sweep, lambda cost: cost.cpu_s),
            "sweep_s": spread(rounds, sweep, wall),
            "failed": failures(rounds),
            "commands": {phase.__name__: commands(rounds, phase) for phase in (cold, warm, sweep)},
            "said": {phase.__name__: said(rounds, phase) for phase in (cold, warm, sweep)},
        }
        for name, rounds in block.items()
    }


def reach(mixed: Block, miners: int) -> dict[str, Any]:
    """The lines to reach, what was measured and whether that is enough; null when it was not carried out."""
    figures = headline(mixed, miners)

    def line(name: str, limit: float) -> dict[str, Any]:
        value = figures[name]
        return {"limit": limit, "measured": value, "reached": None if value is None else value <= limit}

    return {
        "warm_s": line("warm_s", REACH_WARM_S),
        "cpu_ratio_to_raw": line("cpu_ratio_to_raw", REACH_CPU_RATIO),
        "loop_block_ms_max": line("loop_block_ms_max", REACH_BLOCK_MS),
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The table and the lines to reach, as Markdown."""
    out = []
    machine_ = found["machine"]
    out.append(
        f"{machine_['cpu']}, {machine_['cores']} cores, Python {machine_['python']}, pyasic {machine_['pyasic']}, "
        f"pyasic_rs {machine_['pyasic_rs']}; load average {machine_['load_1min']:.1f} at the end. "
        f"Median of {found['rounds']} rounds (least-most)."
    )
    blocks = {f"{found['mixed']['miners']} mixed": found["mixed"]}
    blocks |= {f"{block['miners']} {family}": block for family, block in found["families"].items()}
    for title, block in blocks.items():
        out += ["", f"| {title} | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
        out += [_row(name, block[name]) for name in TITLES if name in shown(block)]
    out += ["", *_reach_lines(found["reach"])]
    failed = [
        f"FAILED: {title}, {TITLES[name]}: {text}"
        for title, block in blocks.items()
        for name in shown(block)
        for text in block[name]["failed"]
    ]
    left_out = [
        f"LEFT OUT: {TITLES[name]}, which finds miners on their vendors' ports only; port 80 cannot be had here"
        for name in TITLES
        if name not in found["mixed"]
    ]
    return out + failed + left_out


def shown(block: Mapping[str, Any]) -> list[str]:
    """The contestants to print: of the two semaphores the one with the better warm wall time."""
    names = [name for name in TITLES if name in block]
    tried = [name for name in SEMAPHORES.values() if name in names]
    best = min(tried, key=lambda name: (block[name]["warm_s"] or {"median": float("inf")})["median"], default="")
    return [name for name in names if name not in tried or name == best]


def _row(name: str, figures: Mapping[str, Any]) -> str:
    cells = [_cell(figures[key], 1 if key.endswith("_ms") else 2) for key in COLUMNS.values()]
    return f"| {TITLES[name]} | " + " | ".join(cells) + " |"


def _cell(value: Mapping[str, float] | None, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value['median']:.{digits}f} ({value['min']:.{digits}f}-{value['max']:.{digits}f})"


def _reach_lines(wanted: Mapping[str, Any]) -> list[str]:
    what = {
        "warm_s": "all asleep, warm: wall seconds",
        "cpu_ratio_to_raw": "CPU, warm: times by hand",
        "loop_block_ms_max": "longest the loop was blocked in any shed, ms",
    }
    verdict = {True: "reached", False: "NOT REACHED", None: "NOT MEASURED"}
    return [
        f"{verdict[line['reached']]}: {what[name]} "
        f"{'-' if line['measured'] is None else format(line['measured'], '.2f')} (at most {line['limit']:g})"
        for name, line in wanted.items()
    ]


# --- figures --------------------------------------------------------------------------------------------------------


def cold(run: Run) -> Cost | None:
    return run.cold


def warm(run: Run) -> Cost | None:
    return run.warm


def sweep(run: Run) -> Cost | None:
    return run.sweep


def wall(cost: Cost) -> float:
    return cost.wall_s


Phase = Callable[[Run], Cost | None]


def values(rounds: Rounds, phase: Phase, figure: Callable[[Cost], float]) -> list[float] | None:
    """One figure of every round; None when the phase was left out or was not carried out in any one of them."""
    costs = [phase(run) for run in rounds]
    if not costs or any(cost is None or cost.failed for cost in costs):
        return None
    return [figure(cost) for cost in costs if cost is not None]


def median(rounds: Rounds, phase: Phase, figure: Callable[[Cost], float]) -> float | None:
    found = values(rounds, phase, figure)
    return None if found is None else statistics.median(found)


def spread(rounds: Rounds, phase: Phase, figure: Callable[[Cost], float]) -> dict[str, float] | None:
    found = values(rounds, phase, figure)
    return {"median": statistics.median(found), "min": min(found), "max": max(found)} if found else None


def cpu_ratio(block: Block) -> float | None:
    """Our CPU over that by hand, round by round, so that a slow minute of the machine is in both; the median."""
    ours = values(block[OURS], warm, lambda cost: cost.cpu_s)
    raw = values(block[RAW], warm, lambda cost: cost.cpu_s)
    if ours is None or raw is None:
        return None
    return statistics.median(mine / least for mine, least in zip(ours, raw, strict=True))


def worst_block_ms(rounds: Rounds) -> float | None:
    found = [values(rounds, phase, lambda cost: cost.block_ms) for phase in (cold, warm)]
    if any(block is None for block in found):
        return None
    return max(value for block in found if block is not None for value in block)


def failures(rounds: Rounds) -> list[str]:
    """What was not carried out, each sentence once."""
    phases: dict[str, Phase] = {"cold": cold, "warm": warm, "sweep": sweep}
    said = {
        f"{name}: {cost.failed}": None
        for run in rounds
        for name, phase in phases.items()
        if (cost := phase(run)) is not None and cost.failed
    }
    return list(said)


def commands(rounds: Rounds, phase: Phase) -> dict[str, int]:
    """What the miners heard in the last round, and over how many connections."""
    cost = phase(rounds[-1]) if rounds else None
    return {} if cost is None else {**cost.commands, "connections": cost.connections}


def said(rounds: Rounds, phase: Phase) -> str:
    """The same for contestants that told every miner the same in the last round."""
    cost = phase(rounds[-1]) if rounds else None
    return "" if cost is None else cost.said


def machine() -> dict[str, Any]:
    """What it ran on."""
    models = [line for line in _text("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1min": os.getloadavg()[0],
        **{name: importlib.metadata.version(name) for name in ("pyasic", "pyasic_rs", "httpx", "cryptography")},
    }


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
