"""`make test-systemd`: the service from its installation to its removal, in a container with a real systemd.

Prints what was done and seen, writes the same to build/test-systemd.txt, and ends with 1 when anything was not as it
should be. Where this machine cannot run such a container it says so and ends with 0, unless CURTAILD_REQUIRE_NSPAWN is
set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from tests.nspawn.machine import CannotRunError, Machine, fill_wheelhouse
from tests.nspawn.site import Site, changed_tree
from tests.nspawn.steps import STEPS, Run

TREE = Path(__file__).resolve().parents[2]
CACHE = TREE / "build/nspawn"
TRANSCRIPT = TREE / "build/test-systemd.txt"
LATER, BROKEN = "0.99.0", "0.99.1"


class Transcript:
    """What is printed, kept in a file as well."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        for line in text.splitlines():
            stamped = f"{time.monotonic() - self._began:6.1f} s  {line}"
            print(stamped, flush=True)
            self._file.write(stamped + "\n")


def main() -> int:
    TRANSCRIPT.parent.mkdir(parents=True, exist_ok=True)
    with TRANSCRIPT.open("w") as file:
        transcript = Transcript(file)
        try:
            return _run(transcript)
        except CannotRunError as reason:
            transcript.say(f"skipped: {reason}")
            return 1 if os.environ.get("CURTAILD_REQUIRE_NSPAWN") else 0


def _run(transcript: Transcript) -> int:
    Machine.refuse_if_impossible()
    shared = CACHE / "shared"
    machine = Machine(CACHE, shared, TREE)
    if machine.build():
        transcript.say("built a Debian 12 under build/nspawn/rootfs")
    fill_wheelhouse(shared / "wheelhouse", [TREE / "requirements/run.txt", TREE / "requirements/build.txt"])
    later = _build_wheel(LATER, broken=False)
    broken = _build_wheel(BROKEN, broken=True)
    transcript.say("packages and two other versions of the program are at hand")
    with machine:
        release = machine.path("/etc/debian_version").read_text().strip()
        transcript.say(f"Debian {release} is up, {machine.run('systemctl', '--version').splitlines()[0]}")
        site = Site(machine)
        site.sim.start()
        try:
            return _walk(Run(machine, site, transcript.say, f"/shared/{later.name}", f"/shared/{broken.name}"))
        finally:
            site.sim.stop()


def _walk(run: Run) -> int:
    """All steps in their order; the first that fails ends it."""
    for number, step in enumerate(STEPS, start=1):
        run.say(f"\n-- {number}. {(step.__doc__ or step.__name__).strip()}")
        try:
            step(run)
        except Exception as error:  # noqa: BLE001  # whatever it was, its words and the service's log are what is wanted
            run.say(f"FAILED: {type(error).__name__}: {error}")
            run.say("the last of the service's log:\n" + "\n".join(run.site.log().splitlines()[-25:]))
            run.say(f"the journal is kept in {run.site.keep_journal(CACHE)}")
            return 1
    run.say(f"\nall {len(STEPS)} steps passed")
    return 0


def _build_wheel(version: str, *, broken: bool) -> Path:
    """This tree as another version, in the folder the container sees."""
    tree = CACHE / f"tree-{version}"
    subprocess.run(["rm", "-rf", tree], check=True)
    changed_tree(TREE, tree, version, broken)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(CACHE / "shared"), str(tree)]
    subprocess.run(command, check=True)
    return CACHE / "shared" / f"curtaild-{version}-py3-none-any.whl"


if __name__ == "__main__":
    sys.exit(main())
