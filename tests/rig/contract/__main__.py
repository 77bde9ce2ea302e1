"""`python -m tests.rig.contract` meets every case and prints the matrix; `--record` keeps it and renders the page."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.rig.contract import matrix
from tests.rig.contract.run import AT_ONCE, Cell, prove_all
from tests.rig.contract.scenes import all_cases


def main() -> int:
    """0 when no rule is broken and every cell is as recorded (or is recorded now)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a case's name, such as luxos or refused")
    parser.add_argument("--record", action="store_true", help="keep what is found, and put it into docs/firmware.md")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many cases at a time")
    given = parser.parse_args()
    known = matrix.recorded() if matrix.RECORD.exists() else {}
    found: dict[str, Cell] = {}
    broken = changed = 0
    cases = [case for case in all_cases() if given.only in str(case)]
    for case, proof in asyncio.run(prove_all(cases, given.at_once)).items():
        name = str(case)
        if isinstance(proof, Exception):
            print(f"{name:44s} BROKEN: {proof!r}")
            broken += 1
            continue
        found[name] = cell = proof.cell
        rules = matrix.broken_rules(case, proof)
        differs = known.get(name) != cell
        broken, changed = broken + len(rules), changed + differs
        print(
            f"{name:44s} {cell.outcome.value:13s} {proof.elapsed_s:5.2f} s  reads {cell.reads.name.lower():12s}"
            f"{cell.verdict.name.lower():12s} counted {cell.counts_as:8s} draws {proof.true_power_w:5.0f} W"
            f" open {cell.left}{'  NEW' if differs else ''}  {proof.report.detail[:60]!r} {proof.reading.detail[:50]!r}"
        )
        for rule in rules:
            print(f"    BROKEN: {rule}")
    if given.record:
        matrix.record(found, frozenset(map(str, all_cases())))
        page = matrix.PAGE.read_text(encoding="utf-8")
        matrix.PAGE.write_text(matrix.rendered(page, matrix.recorded()), encoding="utf-8")
        changed = 0
    print(f"{len(found)} cases, {broken} rules broken, {changed} not as recorded")
    return 1 if broken or changed else 0


if __name__ == "__main__":
    sys.exit(main())
