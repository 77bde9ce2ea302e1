"""The whole suite in four streams side by side: processes in real time mostly wait, all the rest computes.

    make test

Within a stream tests run one after the other. Between streams nothing is shared: every site has an id of its own, every
socket a port the system chose. Two streams are in real time, and more of them would make each other late; the two in
virtual time, to which it is all the same how long it takes, give way to them and fill what they leave. So two
processors do for all. The first is shown as it runs, then what the others said; one that fails, fails all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURVIVE = "tests/e2e/test_survive_*.py"
PATIENT = "--timeout=600"  # who gives way may have to wait
VIRTUAL = (("tests/config", "tests/core", PATIENT), ("tests/scenarios", PATIENT))
BESIDE = (("tests/e2e", "tests/deploy", f"--ignore-glob={ROOT / SURVIVE}"), *VIRTUAL)
REST = ("tests", *(f"--ignore={one}" for chosen in BESIDE for one in chosen if Path(ROOT, one).is_dir()))
SHOWN = (REST, (SURVIVE,))  # one after the other
GIVES_WAY = 19  # as nice(1) has it: they get what the others leave


def main(arguments: list[str]) -> int:
    """The exit code: 0 when every stream passed. `arguments` go to all."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, str(number)) for number in range(len(BESIDE))]
        beside = []
        for chosen, where in zip(BESIDE, said, strict=True):
            with where.open("wb") as file:
                stream = subprocess.Popen([*pytest, *_files(chosen)], cwd=ROOT, stdout=file, stderr=file)
            if chosen in VIRTUAL:
                os.setpriority(os.PRIO_PROCESS, stream.pid, GIVES_WAY)
            beside.append(stream)
        try:
            for chosen in SHOWN:
                worst = subprocess.run([*pytest, *_files(chosen)], cwd=ROOT, check=False).returncode or worst
        except KeyboardInterrupt:
            worst = 2
        for stream, where in zip(beside, said, strict=True):
            worst = stream.wait() or worst
            sys.stdout.write(where.read_text(errors="replace"))
            sys.stdout.flush()
    return worst


def _files(chosen: tuple[str, ...]) -> list[str]:
    """What pytest is to collect: it opens no pattern itself."""
    found: list[str] = []
    for one in chosen:
        found += [one] if one.startswith("-") or "*" not in one else sorted(map(str, ROOT.glob(one)))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
