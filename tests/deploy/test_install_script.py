"""deploy/install.sh in a folder of its own (`--root`), with a stand-in for the program: a wheel of a few lines.

What it does with running instances and the real program is tested by `make test-systemd`.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
GOOD, FAILED, USAGE, REFUSED = 0, 1, 2, 3
PROGRAM = """
import pathlib, sys

def main():
    if "--version" in sys.argv:
        print("curtaild, version {version}")
    elif "{forbidden}" in pathlib.Path(sys.argv[-1]).read_text():
        sys.exit("{forbidden} is not allowed here")
"""


def wheel(folder: Path, version: str, *, schema: int = 2, forbidden: str = "wrong", runs: bool = True) -> Path:
    """A program that knows --version and check; the latter refuses files with a `forbidden` word."""
    about = f"curtaild-{version}.dist-info"
    files = {
        "controller/__init__.py": "",
        "controller/cli.py": PROGRAM.format(version=version, forbidden=forbidden),
        "controller/app.py": "" if runs else "raise ImportError('a part is missing')",
        "controller/runtime/__init__.py": "",
        "controller/runtime/journal_file.py": f"SCHEMA_VERSION = {schema}",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: curtaild\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\ncurtaild = controller.cli:main\n",
    }
    path = folder / f"curtaild-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        record = ""
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # no time in it: built again it is the same
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text.encode())}\n"
        archive.writestr(zipfile.ZipInfo(f"{about}/RECORD"), f"{record}{about}/RECORD,,\n")
    return path


class Machine:
    """A folder that stands for a machine, and the script with what belongs to it, as a built version carries it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "machine"
        self.root.mkdir()
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.kit = folder / "kit"
        self.kit.mkdir()
        shutil.copy(DEPLOY / "install.sh", self.kit)
        shutil.copytree(DEPLOY / "systemd", self.kit / "systemd")
        (self.kit / "requirements").mkdir()
        (self.kit / "requirements/run.txt").write_text("")
        self.elsewhere = folder / "elsewhere"  # the caller's Python finds another program of this name
        self.elsewhere.mkdir()
        (self.elsewhere / "controller.py").write_text("raise ImportError('not what was built')")

    def run(self, *words: str | Path) -> tuple[int, str]:
        """Exit code and everything printed."""
        command = [self.kit / "install.sh", *words, "--root", self.root]
        if words[0] in ("install", "upgrade"):
            command += ["--python", sys.executable]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
            env={**os.environ, "PYTHONPATH": str(self.elsewhere)},
        )  # fmt: skip
        return done.returncode, done.stdout

    def install(self, command: str, version: str, *more: str, **about: object) -> tuple[int, str]:
        return self.run(command, "--wheel", wheel(self.wheels, version, **about), *more)  # type: ignore[arg-type]

    def site(self, name: str, text: str = "good") -> Path:
        folder = self.root / "etc/curtaild" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "site.toml").write_text(text)
        return folder

    @property
    def opt(self) -> Path:
        return self.root / "opt/curtaild"

    def version(self, link: str = "current") -> str:
        """Which version a link names, without its digest."""
        path = self.opt / link
        return path.readlink().name.partition("-")[0] if path.is_symlink() else ""

    def versions(self) -> set[str]:
        return {path.name.partition("-")[0] for path in (self.opt / "versions").iterdir()}

    def journal(self, site: str, schema: int) -> Path:
        folder = self.root / "var/lib/curtaild" / site
        folder.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(folder / "journal.sqlite") as db:
            db.execute(f"PRAGMA user_version={schema}")
            db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY)")
        db.close()
        return folder / "journal.sqlite"


def said_version(program: Path) -> str:
    return subprocess.check_output([program, "--version"], text=True, env={"PATH": os.environ["PATH"]})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.skipif(
    shutil.which("shellcheck") is None and not os.environ.get("CURTAILD_REQUIRE_DEPLOY_TOOLS"),
    reason="shellcheck is not installed",
)
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", DEPLOY / "install.sh"], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""


def test_from_the_first_version_to_the_third_and_back_and_away(machine: Machine) -> None:
    code, output = machine.install("install", "1.0.0")
    assert (code, machine.version()) == (GOOD, "1.0.0"), output
    program = machine.root / "usr/local/bin/curtaild"
    assert said_version(program) == "curtaild, version 1.0.0\n"
    assert (machine.root / "usr/local/lib/systemd/system/curtaild@.service").exists()

    code, output = machine.install("install", "1.0.0")
    assert (code, "is built already" in output, "no instance was restarted" in output) == (GOOD, True, True)

    code, output = machine.install("install", "2.0.0")
    assert (code, "use upgrade" in output, machine.version()) == (USAGE, True, "1.0.0"), output

    machine.site("site-a")
    unit = machine.kit / "systemd/curtaild@.service"
    unit.write_text(unit.read_text() + "# of the second version\n")
    code, output = machine.install("upgrade", "2.0.0", schema=3)
    assert (code, machine.version(), machine.version("previous")) == (GOOD, "2.0.0", "1.0.0"), output
    assert "a later rollback will have to begin with an empty one" in output
    installed = machine.root / "usr/local/lib/systemd/system/curtaild@.service"
    assert "of the second version" in installed.read_text()
    assert said_version(program) == "curtaild, version 2.0.0\n"

    journal = machine.journal("site-a", 3)
    code, output = machine.run("rollback")
    assert (code, machine.version(), journal.exists()) == (REFUSED, "2.0.0", True), output
    assert "the journals of site-a are too new" in output
    code, output = machine.run("rollback", "--move-journals")
    assert (code, machine.version(), machine.version("previous")) == (GOOD, "1.0.0", "2.0.0"), output
    assert not journal.exists()
    assert len(list(journal.parent.glob("journal.sqlite.newer-*"))) == 1
    assert "of the second version" not in installed.read_text(), "the unit belongs to its version"

    code, output = machine.install("upgrade", "3.0.0", "--keep", "1")
    assert (code, machine.version(), machine.versions()) == (GOOD, "3.0.0", {"1.0.0", "3.0.0"}), output
    assert "removing version 2.0.0" in output

    code, output = machine.run("status")
    assert code == GOOD
    assert [line.split()[2] for line in output.splitlines() if line.startswith("version ")] == ["current", "previous"]

    code, output = machine.run("uninstall")
    assert (code, machine.version()) == (USAGE, "3.0.0"), "nobody was there to ask"
    code, output = machine.run("uninstall", "--yes")
    assert (code, machine.opt.exists(), program.is_symlink(), installed.exists()) == (GOOD, False, False, False), output
    assert "Miners stay as they were last told" in output
    assert (machine.root / "etc/curtaild/site-a/site.toml").exists()
    assert list(journal.parent.glob("journal.sqlite.newer-*"))
    code, output = machine.run("uninstall", "--yes", "--purge")
    assert (code, (machine.root / "etc/curtaild").exists(), journal.parent.exists()) == (GOOD, False, False), output


def test_nothing_is_switched_when_a_site_is_refused_or_the_build_is_no_good(machine: Machine) -> None:
    machine.install("install", "1.0.0")
    machine.site("site-a")
    secret = machine.site("site-b", "word") / "secrets/password"
    secret.parent.mkdir()
    secret.write_text("x")
    code, output = machine.install("upgrade", "2.0.0", forbidden="word")
    assert (code, machine.version()) == (REFUSED, "1.0.0"), output
    assert "site site-a: accepted" in output
    assert "word is not allowed here" in output
    assert "site site-b: refused" in output

    code, output = machine.install("upgrade", "3.0.0", runs=False)
    assert (code, machine.version()) == (FAILED, "1.0.0"), output
    assert "a part is missing" in output
    assert "3.0.0" not in machine.versions(), "what was not finished is taken away"

    code, output = machine.run("rollback", "7.7.7")
    assert (code, "there is no version 7.7.7" in output) == (USAGE, True)
    code, output = machine.run("check", "site-b")
    assert code == GOOD, output


def test_what_makes_no_sense_is_said_before_anything_is_done(machine: Machine) -> None:
    assert machine.run("upgrade", "--wheel", wheel(machine.wheels, "1.0.0"))[1].endswith("use install\n")
    for words in (["reinstall"], ["install", "--fast"], ["install"]):  # the kit is no source tree, and names no wheel
        code, output = machine.run(*words)
        assert code == USAGE, output
    machine.opt.mkdir(parents=True, exist_ok=True)
    with (machine.opt / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output = machine.install("install", "1.0.0")
    assert (code, "another install.sh is at work" in output) == (FAILED, True)
    assert not (machine.opt / "versions").exists()
