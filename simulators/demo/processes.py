"""Child processes of the demo: started, watched, measured and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

TAIL_LINES: Final = 15
KILL_AFTER_S: Final = 15.0
_MEBI: Final = 1024.0


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what failed and where to look."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU seconds since its start, and resident memory now, MiB."""

    cpu_s: float
    rss_mb: float


def command_beside(name: str) -> str:
    """Return the console script `name` of this very environment.

    Raises:
        DemoError: it is not installed.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise DemoError(f"no `{name}` beside {sys.executable}; install the whole distribution: pip install -e '.[sim]'")
    return found


class Child:
    """One process in a session of its own, so that Ctrl-C reaches the demo alone, which then ends it in order."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name: Final = name
        self.log: Final = log
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        log: Path,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a process; standard error goes to `log`, standard output there too, or to `output`.

        `environment` is added to this process's own.
        """
        # Where the system has setpriv, the kernel ends the child even if this process is killed outright.
        setpriv = shutil.which("setpriv")
        guard = [] if setpriv is None else [setpriv, "--pdeathsig", "TERM", "--"]
        with log.open("wb") as errors, (log if output is None else output).open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    def must_run(self) -> None:
        """Raise DemoError with the end of its log when it has ended."""
        if self.exit_code is not None:
            raise DemoError(f"the {self.name} ended by itself with code {self.exit_code}; its log:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log_text().splitlines()[-TAIL_LINES:])

    def log_text(self) -> str:
        """Its whole log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def usage(self) -> Usage | None:
        """What it has used so far; None when it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        user, system = fields.split()[11:13]  # fields 14 and 15 of proc(5), counted behind the name
        rss_kb = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
        return Usage((int(user) + int(system)) / os.sysconf("SC_CLK_TCK"), rss_kb / _MEBI)

    async def wait(self, within_s: float) -> int | None:
        """Wait for its end; the exit code, or None when it still runs after `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._process.wait()
        return self.exit_code

    async def stop(self) -> int:
        """Ask it to end with SIGTERM, insist after 15 s; returns its exit code (negative: the signal that ended it)."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            if await self.wait(KILL_AFTER_S) is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        return await self._process.wait()


async def run_to_end(
    name: str, command: Sequence[str], run_dir: Path, within_s: float, environment: Mapping[str, str] | None = None
) -> str:
    """Run a short command, with `environment` added to this process's own; returns its standard output.

    Raises:
        DemoError: it failed, or took too long.
    """
    log, output = run_dir / f"{name}.log", run_dir / f"{name}.out"
    child = await Child.start(name, command, log, output, environment)
    try:
        code = await child.wait(within_s)
    finally:
        await child.stop()
    if code != 0:
        raise DemoError(f"{name} ended with {code}:\n{child.tail()}")
    return output.read_text(encoding="utf-8")
