"""The whole suite in two streams side by side: processes in real time mostly wait, all the rest computes.

    make test

Within a stream tests run one after the other, so that no two of them want the same port or the same site, and none
measures another's load. The rest is shown as it runs, then what the processes said; one that fails, fails both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

WAITING = "tests/e2e"
ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """The exit code: 0 when both streams passed. `arguments` go to both."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    with tempfile.TemporaryFile() as said:
        waiting = subprocess.Popen([*pytest, WAITING], cwd=ROOT, stdout=said, stderr=said)
        try:
            computing = subprocess.run([*pytest, "tests", f"--ignore={WAITING}"], cwd=ROOT, check=False).returncode
            waited = waiting.wait()
        except KeyboardInterrupt:
            computing = waited = waiting.wait()
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    return computing or waited


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
