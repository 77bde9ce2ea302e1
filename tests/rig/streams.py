"""The whole suite in four streams side by side: processes in real time mostly wait, all the rest computes.

    make test

Within a stream tests run one after the other. Between streams nothing is shared: every site has an id of its own, every
socket a port the system chose. Two streams of processes draw a third of a processor each; of the two that compute the
one in virtual time, to which it is all the same how long it takes, gives way to the others. So two processors do for
all. The rest is shown as it runs, then what the others said; one that fails, fails all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURVIVE = "tests/e2e/test_survive_*.py"
VIRTUAL = ("tests/config", "tests/core")
BESIDE = (
    (SURVIVE,),
    ("tests/e2e", "tests/deploy", f"--ignore-glob={ROOT / SURVIVE}"),
    VIRTUAL,
)
SHOWN = ("tests", "--ignore=tests/e2e", "--ignore=tests/deploy", *(f"--ignore={folder}" for folder in VIRTUAL))
GIVES_WAY = 10  # as nice(1) has it


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
            if chosen is VIRTUAL:
                os.setpriority(os.PRIO_PROCESS, stream.pid, GIVES_WAY)
            beside.append(stream)
        try:
            worst = subprocess.run([*pytest, *SHOWN], cwd=ROOT, check=False).returncode
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
