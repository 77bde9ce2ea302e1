"""A Debian 12 that boots systemd in a container, thrown away after the run.

Its file system is built once and kept under build/nspawn; a run writes into memory above it. It has a network of its
own with nothing but a loopback. This process steps into that network, so that simulators here are devices there, and
stays outside of everything else.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RELEASE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,procps,ca-certificates"
BOOT_WITHIN_S = 60.0
CLONE_NEWNET = 0x4000_0000
TOOLS = ("systemd-nspawn", "mmdebstrap", "nsenter")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}


class CannotRunError(Exception):
    """This machine cannot run the test; the words say what is missing."""


class Machine:
    """Booted inside a `with` block; raises CannotRunError where that is not possible."""

    def __init__(self, cache: Path, shared: Path, tree: Path) -> None:
        """cache: what is kept between runs. shared: seen as /shared in there, and tree as /src; both read-only."""
        self._rootfs = cache / "rootfs"
        self._log = cache / "console.log"
        self._binds = [f"--bind-ro={shared}:/shared", f"--bind-ro={tree}:/src"]
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    @staticmethod
    def refuse_if_impossible() -> None:
        """Raises CannotRunError."""
        if os.geteuid() != 0:
            raise CannotRunError("not root: a container with a systemd of its own needs it")
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            raise CannotRunError(f"no {', '.join(missing)}: apt-get install systemd-container mmdebstrap dbus")

    def build(self) -> bool:
        """Make the file system unless it is there; True when it had to be made."""
        if (self._rootfs / "etc/debian_version").exists():
            return False
        self._rootfs.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._rootfs.with_name("rootfs.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", RELEASE]
        done = subprocess.run([*command, str(unfinished)], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise CannotRunError(f"mmdebstrap cannot build a Debian here: {done.stderr.strip()[-300:]}")
        unfinished.rename(self._rootfs)
        return True

    def __enter__(self) -> Machine:
        command = ["systemd-nspawn", "--directory", str(self._rootfs), "--boot", "--register=no", "--keep-unit"]
        command += ["--private-network", "--volatile=overlay", "--machine=curtaild-test", *self._binds]
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._leader = self._find_leader()
            self._wait_until_up()
            self._enter_network()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Killed, not shut down: nothing in there is kept."""
        assert self._nspawn is not None
        if self._leader:
            os.kill(self._leader, signal.SIGKILL)
        else:
            self._nspawn.terminate()
        self._nspawn.wait(30)

    def _find_leader(self) -> int:
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        deadline = time.monotonic() + BOOT_WITHIN_S
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            for child in children.read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
            time.sleep(0.1)
        raise CannotRunError(f"systemd-nspawn boots nothing here: {self._log.read_text(errors='replace')[-300:]}")

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_WITHIN_S
        state = ""
        while time.monotonic() < deadline:
            state = self.run("systemctl", "is-system-running", check=False)
            if state in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise CannotRunError(f"systemd does not come up in the container: {state or 'no answer'}")

    def _enter_network(self) -> None:
        """From here on every socket of this process is one of the container's. No thread may have been started yet."""
        with Path(f"/proc/{self._leader}/ns/net").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise CannotRunError(f"the container's network cannot be entered: {os.strerror(ctypes.get_errno())}")

    def run(self, *command: str, check: bool = True, within_s: float = 120.0) -> str:
        """Run a command in there, to its end; returns what it printed, errors too. Fails on a bad exit code."""
        code, output = self.ran(*command, within_s=within_s)
        if check and code != 0:
            raise AssertionError(f"{' '.join(command)}: exit code {code}\n{output}")
        return output

    def ran(self, *command: str, within_s: float = 120.0) -> tuple[int, str]:
        """The same, with the exit code."""
        done = subprocess.run(
            ["nsenter", f"--target={self._leader}", "-m", "-u", "-i", "-n", "-p", "--", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=within_s, env=ENVIRONMENT, cwd="/",
        )  # fmt: skip
        return done.returncode, done.stdout.strip()

    def path(self, inside: str) -> Path:
        """A path of the container as this process sees it."""
        return Path(f"/proc/{self._leader}/root") / inside.lstrip("/")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def kill(self, process: int, how: signal.Signals) -> None:
        """`process` as it is numbered in there."""
        self.run("kill", f"-{how.value}", str(process))


def fill_wheelhouse(wheelhouse: Path, requirements: Sequence[Path]) -> None:
    """Every package the installer needs, for a machine without network; kept. Raises CannotRunError."""
    known, wanted = wheelhouse / "requirements.txt", "".join(file.read_text() for file in requirements)
    if known.exists() and known.read_text() == wanted:
        return
    if sys.version_info[:2] != (3, 11):
        raise CannotRunError("Debian 12 has Python 3.11, and its packages can only be fetched by a Python 3.11")
    for file in requirements:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary", ":all:", "--require-hashes", "--dest", str(wheelhouse), "-r", str(file)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise CannotRunError(f"pip cannot fetch {file.name}: {done.stderr.strip()[-300:]}")
    known.write_text(wanted)
