"""The whole suite in three streams side by side: processes in real time mostly wait, all the rest computes.

    make test

Within a stream tests run one after the other. Between streams nothing is shared: every site has an id of its own, every
socket a port the system chose. Two streams of processes draw a third of a processor each, so that two processors are
enough for all. The rest is shown as it runs, then what the others said; one that fails, fails all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURVIVE = "tests/e2e/test_survive_*.py"
WAITING = (
    (SURVIVE,),
    ("tests/e2e", "tests/deploy", f"--ignore-glob={ROOT / SURVIVE}"),
)
COMPUTING = ("tests", "--ignore=tests/e2e", "--ignore=tests/deploy")


def main(arguments: list[str]) -> int:
    """The exit code: 0 when every stream passed. `arguments` go to all."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, str(number)) for number in range(len(WAITING))]
        waiting = []
        for chosen, where in zip(WAITING, said, strict=True):
            with where.open("wb") as file:
                waiting.append(subprocess.Popen([*pytest, *_files(chosen)], cwd=ROOT, stdout=file, stderr=file))
        try:
            worst = subprocess.run([*pytest, *COMPUTING], cwd=ROOT, check=False).returncode
        except KeyboardInterrupt:
            worst = 2
        for stream, where in zip(waiting, said, strict=True):
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
