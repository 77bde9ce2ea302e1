"""Scenarios by hand: `python -m tests.rig.scenario NAME...` plays them, prints what was decided and whether it is what
the file expects, and draws build/scenarios/NAME.svg. `--accept` keeps the decisions as the golden ones; `--list` names
the scenarios, `--sentences` what a file may expect.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from pathlib import Path

from tests.rig import expectations, golden, scenario_file, scenario_setup
from tests.rig.expectations import Found
from tests.rig.picture import svg
from tests.rig.record import Record
from tests.rig.scenario_file import FOLDER, Scenario
from tests.rig.setup import Setup
from tests.rig.site import Site

PICTURES = Path("build/scenarios")


class Played:
    """One scenario, run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scenario: Scenario = scenario_file.load(path)
        self.setup: Setup = scenario_setup.setup_of(path.stem, self.scenario)
        self.record: Record = Site(self.setup).run()
        self.decisions = "\n".join(golden.lines(self.record, self.setup.policy.rated_w)) + "\n"

    @property
    def golden_path(self) -> Path:
        return self.path.parent / "golden" / f"{self.path.stem}.txt"

    def findings(self) -> list[Found]:
        """Every sentence of the file with its figure."""
        run = expectations.Run(self.setup, self.record)
        return [expectations.check(sentence, run) for sentence in self.scenario.expect.holds]

    def differences(self) -> list[str]:
        """The decisions against the golden ones, as a unified diff; empty when they are the same."""
        known = self.golden_path.read_text(encoding="utf-8") if self.golden_path.exists() else ""
        pair = known.splitlines(), self.decisions.splitlines()
        return list(difflib.unified_diff(*pair, "golden", "now", lineterm="", n=1))

    def accept(self) -> None:
        """Keep the decisions as the golden ones."""
        self.golden_path.parent.mkdir(exist_ok=True)
        self.golden_path.write_text(self.decisions, encoding="utf-8")


def _path(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"


def main() -> int:
    """1 when a sentence does not hold, or decisions differ that were not accepted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="of a scenario, or the path of a file; none: all of them")
    parser.add_argument("--accept", action="store_true", help="keep the decisions as the golden ones")
    parser.add_argument("--quiet", action="store_true", help="do not print the decisions")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--sentences", action="store_true", help="list what a file may expect")
    given = parser.parse_args()
    if given.list or given.sentences:
        print("\n".join(scenario_file.names() if given.list else expectations.SENTENCES))
        return 0
    try:
        return max([_show(_path(name), given.accept, given.quiet) for name in given.name or scenario_file.names()])
    except (scenario_file.ScenarioError, expectations.UnknownSentenceError) as error:
        print(error, file=sys.stderr)
        return 2


def _show(path: Path, accept: bool, quiet: bool) -> int:
    began = time.process_time()
    played = Played(path)
    took_s = time.process_time() - began
    print(f"{path.stem}: {played.setup.duration_s:.0f} s, {len(played.setup.facts)} miners, in {took_s:.1f} s")
    if not quiet:
        print(played.decisions, end="")
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"{path.stem}.svg"
    picture.write_text(svg(path.stem, played.record, played.setup.policy.rated_w), encoding="utf-8")
    findings = played.findings()
    for found in findings:
        print(f"  {'holds' if found.holds else 'FAILS'}  {found.sentence}: {found.figure}")
    if accept:
        played.accept()
    changed = played.differences()
    print(f"  {picture}; decisions {'differ from the golden ones' if changed else 'as the golden ones'}")
    return 0 if not changed and all(found.holds for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
