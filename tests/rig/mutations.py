"""Break the core on purpose, and see who notices: `python -m tests.rig.mutations [--only NAME ...]`.

Each mutation is a line of a copy of the source tree, in a temporary folder, that says something else; seeds that the
sound core goes through without a breach run on it until the checker that is there for it finds one. Caught by another
alone is not caught: that one tells people to look in the wrong place. A line that is no longer there is an error. Exits
1 when one is not caught; prints the table mutation, checker, seed and writes build/mutations.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.rig.report import write_report

ROOT = Path(__file__).parents[2]
REPORT = Path("build/mutations.json")
MINUTES = 6.0
SEEDS = 12
LONGEST_S = 900.0


@dataclass(frozen=True, slots=True)
class Mutation:
    """In `file`, `line` (or part of one; exactly once there) becomes `broken`, which the checker `by` must name.

    seed, minutes: the shortest stretch in which it does. A core that is broken otherwise may need others.
    """

    name: str
    file: str
    line: str
    broken: str
    by: str
    seed: int
    minutes: float = MINUTES


MUTATIONS = (
    Mutation(
        "in-flight ledger dropped",
        "flight.py",
        "    fleet.from_w[miners] = estimator.expected_power_w(fleet, now, miners)\n    fleet.to_w[miners] = to_w",
        "    fleet.to_w[miners] = fleet.from_w[miners]",
        "ramp_up_kept",
        seed=3,
        minutes=3.0,
    ),
    Mutation(
        "dwell ignored",
        "roster.py",
        "changed_at >= roster.policy.dwell_off_s",
        "changed_at >= 0.0",
        "dwell_kept",
        seed=4,
        minutes=2.0,
    ),
    Mutation(
        "wrong direction",
        "surplus.py",
        "+ over_export - reserve_short",
        "- over_export - reserve_short",
        "load_under_cap",
        seed=1,
        minutes=2.0,
    ),
    Mutation(
        "stale taken as fresh",
        "failsafe.py",
        "now - sample.taken_at <= limit_s",
        "now >= 0.0",
        "blind_only_down",
        seed=11,
    ),
    Mutation(
        "every answer given twice",
        "engine.py",
        "answers=answers,",
        "answers=answers + answers,",
        "orders_answered",
        seed=3,
        minutes=2.0,
    ),
    Mutation(
        "expiry never answered",
        "timeline.py",
        "            ledger.say(entry.dispatch, S.EXPIRED, wall)",
        "            pass",
        "orders_answered",
        seed=4,
        minutes=2.0,
    ),
    Mutation(
        "caps accepted and not obeyed",
        "arbiter.py",
        "elif dispatch.kind is DispatchKind.CAP:",
        "elif False:",
        "caps_obeyed",
        seed=2,
    ),
    Mutation(
        "ramp off",
        "ramp.py",
        "        if wanted.power_w <= ceiling:",
        "        if True:",
        "ramp_up_kept",
        seed=1,
        minutes=2.0,
    ),
    Mutation(
        "emergency flag ignored",
        "arbiter.py",
        "if _flag(samples, Point.GRID_EMERGENCY):",
        "if False:",
        "sheds_at_once",
        seed=51,
        minutes=3.0,
    ),
    Mutation(
        "loop time taken for wall time",
        "timeline.py",
        "if entry.ends_at <= now:",
        "if entry.dispatch.expires_at <= wall:",
        "orders_end_in_time",
        seed=29,
        minutes=4.0,
    ),
    Mutation(
        "resume forgets the orders",
        "order_record.py",
        'for entry in record["orders"]',
        "for entry in []",
        "orders_answered",
        seed=5,
        minutes=2.0,
    ),
    Mutation(
        "resume forgets who sleeps by our order", "checkpoint.py", 'kept["ours_asleep"]', "False", "settles", seed=12
    ),
    Mutation(
        "quarantine never",
        "verify.py",
        "exhausted = failed & (fleet.attempts >= policy.attempts_max)",
        "exhausted = failed & False",
        "misbehaving_go",
        seed=4,
        minutes=3.0,
    ),
    Mutation(
        "quarantined counted on",
        "roster.py",
        "(fleet.verdict != Verdict.QUARANTINED) & ",
        "",
        "plan_adds_up",
        seed=4,
        minutes=2.0,
    ),
    Mutation(
        "blind and raising",
        "governor.py",
        '        doubtful = self.forbidden != "" or',
        "        doubtful = False and",
        "blind_only_down",
        seed=5,
    ),
    Mutation(
        "sent again every cycle",
        "reconcile.py",
        "went_down = before.hashing & ~fleet.want_hashing",
        "went_down = ~fleet.want_hashing",
        "commands_bounded",
        seed=4,
        minutes=2.0,
    ),
    Mutation(
        "clock step not waited out",
        "clock.py",
        "state.held_until = now + policy.inputs.rearm_s",
        "pass",
        "blind_only_down",
        seed=4,
        minutes=3.0,
    ),
    Mutation(
        "a restart forgets what was in doubt",
        "checkpoint.py",
        'row, kept, now)\n    trust_record.recall_trust(state, record.get("trust", {}), now)',
        "row, kept, now)",
        "blind_ends_low",
        seed=1067,
        minutes=10.0,
    ),
    Mutation(
        "a heart believed before it beats",
        "doubts.py",
        "if Point.DCS_HEARTBEAT in readings and not state.heart_beats:",
        "if False:",
        "blind_only_down",
        seed=1083,
        minutes=10.0,
    ),
    Mutation(
        "limits not looked at",
        "roster.py",
        "    return limits.rating_w - beside_w(roster.facts, roster.state) - limits.miners_w(settled)",
        "    return limits.rating_w",
        "limits_kept",
        seed=3,
        minutes=2.0,
    ),
    Mutation(
        "plan short of a kilowatt",
        "engine.py",
        "            allocation=allocation,",
        "            allocation=replace(allocation, unallocated_w=allocation.unallocated_w + 1_000.0),",
        "plan_adds_up",
        seed=4,
        minutes=2.0,
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


def breaches(root: Path, seeds: list[int], minutes: float, until: str = "") -> dict[int, frozenset[str]]:
    """By seed, the checkers that found a breach on the tree at `root`, up to the first seed in which `until` did; a
    crash counts by its exception."""
    code = (
        "import sys\nfrom tests.rig.swarm import run_seed\n"
        "for seed in map(int, sys.argv[3:]):\n"
        "    try:\n        found = [one.checker for one in run_seed(seed, float(sys.argv[1]), True).breaches]\n"
        "    except Exception as error:\n        found = [type(error).__name__]\n"
        "    print(seed, *found)\n"
        "    if sys.argv[2] in found:\n        break\n"
    )
    arguments = [sys.executable, "-c", code, str(minutes), until, *map(str, seeds)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        arguments, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, timeout=LONGEST_S, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return {int(seed): frozenset(found) for seed, *found in lines}


def caught(mutation: Mutation, others: list[int]) -> int | None:
    """The seed in which the right checker names it: its own, or one of the `others` if that does no longer."""
    with tempfile.TemporaryDirectory() as folder:
        root = broken_copy(mutation, Path(folder))
        for seeds, minutes in (([mutation.seed], mutation.minutes), (others, MINUTES)):
            for seed, found in breaches(root, seeds, minutes, mutation.by).items():
                if mutation.by in found:
                    return seed
    return None


def main() -> int:
    """Break, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[one.name for one in MUTATIONS])
    given = parser.parse_args()
    chosen = [one for one in MUTATIONS if one.name in given.only]
    others = [seed for seed, found in breaches(ROOT, list(range(1, SEEDS + 1)), MINUTES).items() if not found]
    table: dict[str, list[object]] = {}
    for mutation in chosen:
        sound = breaches(ROOT, [mutation.seed], mutation.minutes)[mutation.seed]
        if sound:
            where = f"seed {mutation.seed}, {mutation.minutes:g} min"
            print(f"{where}: the sound core breaks {', '.join(sorted(sound))} too", flush=True)
        seed = caught(mutation, others)
        table[mutation.name] = [] if seed is None else [mutation.by, seed]
        print(f"{mutation.name:40} {'NOT CAUGHT' if seed is None else f'{mutation.by:20} seed {seed}'}", flush=True)
    write_report(REPORT, table)
    return 1 if not all(table.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
