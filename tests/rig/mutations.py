"""Break the core on purpose, and see who notices: `python -m tests.rig.mutations [--only NAME ...]`.

Each mutation is a line of a copy of the source tree, in a temporary folder, that says something else; the swarm's first
seeds run on it until a checker finds a breach that the sound core does not have. A line that is no longer there is an
error. Exits 1 when one is not caught; prints the table mutation, checker, seed and writes build/mutations.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPORT = Path("build/mutations.json")
MINUTES = 6.0
SEEDS = 12
LONGEST_S = 900.0


@dataclass(frozen=True, slots=True)
class Mutation:
    """In `file`, `line` (or part of one; exactly once there) becomes `broken`. `seed`: where it was last caught."""

    name: str
    file: str
    line: str
    broken: str
    seed: int = 1


MUTATIONS = (
    Mutation(
        "in-flight ledger dropped",
        "estimator.py",
        "    fleet.from_w[miners] = expected_power_w(fleet, now, miners)\n    fleet.to_w[miners] = to_w",
        "    fleet.to_w[miners] = fleet.from_w[miners]",
    ),
    Mutation("dwell ignored", "roster.py", "changed_at >= dwell_s", "changed_at >= 0.0 * dwell_s"),
    Mutation("wrong direction", "surplus.py", "+ over_export - reserve_short", "- over_export - reserve_short"),
    Mutation("stale taken as fresh", "failsafe.py", "now - sample.taken_at <= limits.hold_after_s", "now >= 0.0"),
    Mutation("every answer given twice", "engine.py", "answers=answers,", "answers=answers + answers,"),
    Mutation(
        "expiry never answered",
        "timeline.py",
        "            ledger.say(entry.dispatch, S.EXPIRED, wall)",
        "            pass",
    ),
    Mutation("caps accepted and not obeyed", "arbiter.py", "elif dispatch.kind is DispatchKind.CAP:", "elif False:"),
    Mutation("ramp off", "ramp.py", "        if wanted.power_w <= ceiling:", "        if True:"),
    Mutation("emergency flag ignored", "arbiter.py", "if _flag(samples, Point.GRID_EMERGENCY):", "if False:"),
    Mutation(
        "loop time taken for wall time",
        "timeline.py",
        "if entry.ends_at <= now:",
        "if entry.dispatch.expires_at <= wall - 15.0:",
    ),
    Mutation("resume forgets the orders", "checkpoint.py", 'for entry in record["orders"]', "for entry in []"),
    Mutation("resume forgets who sleeps by our order", "checkpoint.py", 'kept["ours_asleep"]', "False"),
    Mutation(
        "quarantine never",
        "verify.py",
        "exhausted = failed & (fleet.attempts >= policy.attempts_max)",
        "exhausted = failed & False",
    ),
    Mutation("quarantined counted on", "roster.py", "(fleet.verdict != Verdict.QUARANTINED) & ", ""),
    Mutation("blind and raising", "engine.py", '        doubtful = forbidden != "" or', "        doubtful = False and"),
    Mutation(
        "sent again every cycle",
        "reconcile.py",
        "went_down = before.hashing & ~fleet.want_hashing",
        "went_down = ~fleet.want_hashing",
    ),
    Mutation("clock step not waited out", "clock.py", "state.held_until = now + policy.inputs.rearm_s", "pass"),
    Mutation(
        "plan short of a kilowatt",
        "engine.py",
        "            allocation=allocation,",
        "            allocation=replace(allocation, unallocated_w=allocation.unallocated_w + 1_000.0),",
    ),
)


def broken_copy(mutation: Mutation, folder: Path) -> Path:
    """The tree with one thing wrong. Raises LookupError when the line to break is not there exactly once."""
    for package in ("controller", "simulators", "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.html"))
    path = folder / "controller" / "core" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.line) != 1:
        found = text.count(mutation.line)
        raise LookupError(f"{mutation.name}: {mutation.line!r} stands {found} times in core/{mutation.file}, not once")
    path.write_text(text.replace(mutation.line, mutation.broken), encoding="utf-8")
    return folder


def hunted(root: Path, seeds: list[int]) -> tuple[str, int] | None:
    """(checker, seed) of the first breach in these seeds, run on the tree at `root`; None without one."""
    code = (
        "import sys\nfrom tests.rig.swarm import run_seed\n"
        "for seed in map(int, sys.argv[2:]):\n"
        "    try:\n        found = [one.checker for one in run_seed(seed, float(sys.argv[1]), True).breaches]\n"
        "    except Exception as error:\n        found = [type(error).__name__]\n"
        "    if found:\n        print(found[0], seed)\n        break\n"
    )
    arguments = [sys.executable, "-c", code, str(MINUTES), *map(str, seeds)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        arguments, cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=True
    )
    if not done.stdout:
        return None
    checker, seed = done.stdout.split()
    return checker, int(seed)


def caught(mutation: Mutation, sound: frozenset[int]) -> tuple[str, int] | None:
    """Who catches it, and where; only seeds that the sound core goes through without a breach are asked."""
    with tempfile.TemporaryDirectory() as folder:
        first = [mutation.seed] if mutation.seed in sound else []
        return hunted(broken_copy(mutation, Path(folder)), first + sorted(sound - {mutation.seed}))


def sound_seeds(seeds: list[int]) -> frozenset[int]:
    """Those in which nothing is found as things are."""
    return frozenset(seed for seed in seeds if hunted(ROOT, [seed]) is None)


def main() -> int:
    """Break, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[one.name for one in MUTATIONS])
    given = parser.parse_args()
    sound = sound_seeds(list(range(1, SEEDS + 1)))
    table: dict[str, list[object]] = {}
    for mutation in MUTATIONS:
        if mutation.name in given.only:
            found = caught(mutation, sound)
            table[mutation.name] = list(found) if found else []
            print(
                f"{mutation.name:40} {'NOT CAUGHT' if found is None else f'{found[0]:20} seed {found[1]}'}", flush=True
            )
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 1 if not all(table.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
