"""What is done to the service, one function a step, and what must be seen. Each says what it saw."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.waiting import until
from tests.nspawn.machine import Machine
from tests.nspawn.site import FOLDER, JOURNAL, METRICS_PORT, QUIET_RATIO, SITE, SOCKET, UNIT, Site

SETUP = "/usr/local/sbin/curtaild-setup"
CONTROL_WITHIN_S = 10.0
WATCHDOG_S = 10.0
REFUSED_FOR_S = 15.0
WATCHED_S = 6.0  # three sweeps of the fleet: what a new process does wrong, it does by then


@dataclass(frozen=True, slots=True)
class Run:
    """What every step has at hand. later, broken: wheels, as the container sees them."""

    machine: Machine
    site: Site
    say: Callable[[str], None]
    later: str
    broken: str

    def quiet_since(self, at_s: float, during: str) -> None:
        """The true load must not have moved since `at_s` (monotonic), nor in the seconds that follow."""
        time.sleep(WATCHED_S)
        ratio, words = self.site.moved(at_s)
        assert ratio <= QUIET_RATIO, f"{during}: {words}"
        self.say(f"{during} and {WATCHED_S:.0f} s more: {words}")

    def setup(self, *arguments: str, code: int = 0) -> str:
        """The installed setup script; returns what it printed."""
        got, output = self.machine.ran(SETUP, *arguments, within_s=300)
        assert got == code, f"{' '.join(arguments)} ended with {got}, not {code}:\n{output}"
        self.say(f"$ curtaild-setup {' '.join(arguments)}\n{output}")
        return output


def install(run: Run) -> None:
    """install.sh on a bare Debian, without network"""
    began_s = time.monotonic()
    output = run.machine.run("/src/deploy/install.sh", "install", "--wheelhouse", "/shared/wheelhouse", within_s=300)
    run.say(f"{output}\ntook {time.monotonic() - began_s:.0f} s")
    again = run.machine.run("/src/deploy/install.sh", "install", "--wheelhouse", "/shared/wheelhouse", within_s=300)
    assert "is built already" in again, again
    assert "no instance was restarted" in again, again
    run.say(run.machine.run("curtaild", "--version"))


def start(run: Run) -> None:
    """a site: configured, checked, enabled, started"""
    run.site.write_files()
    run.setup("check")
    began_s = time.monotonic()
    run.machine.run("systemctl", "enable", "--now", UNIT)
    run.say(f"systemctl enable --now {UNIT}: READY after {time.monotonic() - began_s:.1f} s")
    run.site.settle()
    text = run.machine.run("systemctl", "status", "--no-pager", "--lines", "0", UNIT)
    assert re.search(r'Status: ".*kW wanted, bound by', text), text
    run.say(text)
    assert run.site.sim.load_kw <= run.site.sim.cap_kw, "above the surplus"


def confinement(run: Run) -> None:
    """nobody's account, its own directories, its secret, its sandbox"""
    machine = run.machine
    user = machine.run("ps", "-o", "user:20=,uid=,nice=", "-p", str(run.site.pid))
    assert run.site.shows("DynamicUser") == "yes"
    for account in ("passwd", "group"):
        assert "curtaild-" not in machine.path(f"/etc/{account}").read_text()
    run.say(f"runs as {user.split()}; /etc/passwd knows no such account")
    listing = machine.run("ls", "-ld", "/var/lib/curtaild", f"/var/lib/private/curtaild/{SITE}", JOURNAL, SOCKET)
    assert re.search(rf"^srw-rw---- .* curtaild .*{SOCKET}$", listing, re.M), listing
    secret = machine.run("sh", "-c", f"ls -l /run/credentials/{UNIT}.service; ls -ld {FOLDER}/secrets")
    assert re.search(r"^-r-------- .* secrets_whatsminer$", secret, re.M), secret
    run.say(f"{listing}\n{secret}")
    exposure = machine.run("systemd-analyze", "security", "--threshold=15", UNIT).splitlines()[-1]
    run.say(exposure)
    code, said = machine.ran(
        "nsenter", "-t", str(run.site.pid), "-m", "touch", "/usr/x", "/etc/curtaild/x", "/opt/curtaild/x"
    )
    assert code != 0
    assert said.count("Read-only file system") == 3, said
    run.say("from inside it, /usr, /etc and /opt cannot be written to")
    woken = sum(miner.log.writes != [] for miner in run.site.sim.farm.miners if hasattr(miner, "settings"))
    assert woken, "no WhatsMiner obeyed: was the secret used?"
    run.say(f"{woken} WhatsMiners took commands under the password from {FOLDER}/secrets")


def people(run: Run) -> None:
    """members of the group may order and are named; others may not"""
    for account, groups in (("alice", ["-G", "curtaild"]), ("bob", [])):
        run.machine.run("useradd", *groups, account)
    code, said = run.site.cli("status", "--site", SITE, user="bob")
    assert (code, "you may not ask" in said) == (4, True), said
    run.say(f"bob: {said}")
    code, said = run.site.cli("cap", "20kW", "--for", "1m", "--site", SITE, user="alice")
    assert code == 0, said
    run.say(f"alice: {said}")
    until(lambda: "alice" in run.site.log(), 5, "alice in the log")
    within_kw = 20.0 + QUIET_RATIO * run.site.rated_kw  # the deadband is half of that
    until(lambda: run.site.sim.load_kw < within_kw, 20, "the load down to alice's cap")
    assert run.site.cli("release", "--site", SITE, user="alice")[0] == 0
    run.site.settle()


def scrape(run: Run) -> None:
    """Prometheus' page"""
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    measured = [line for line in lines if line.startswith("curtaild_measured_watts")]
    assert measured
    run.say(f"{len(lines)} lines, among them: {measured[0]}")


def sigkill(run: Run) -> None:
    """SIGKILL: in control again within ten seconds, the load stays"""
    _dies(run, signal.SIGKILL, extra_s=0.0)
    (record,) = run.machine.path(SOCKET.rpartition("/")[0]).glob("starts-*.json")
    counted = record.read_text()
    assert len(json.loads(counted)["unclean"]) == 1, counted
    run.say(f"counted, should it become a loop: {counted}")


def watchdog(run: Run) -> None:
    """a daemon that hangs (SIGSTOP): systemd kills it, and it is in control ten seconds later"""
    cursor = run.site.cursor()
    _dies(run, signal.SIGSTOP, extra_s=WATCHDOG_S + 2.0)
    words = run.site.log(cursor)
    assert "Watchdog timeout" in words, words
    assert "signal ABRT" in words or "code=dumped" in words or "status=6/ABRT" in words, words
    run.say("\n".join(line for line in words.splitlines() if "atchdog" in line or "ABRT" in line))


def _dies(run: Run, how: signal.Signals, extra_s: float) -> None:
    site = run.site
    site.settle()
    before, writes, restarts = site.pid, site.sim.writes(), int(site.shows("NRestarts"))
    at_s = time.monotonic()
    run.machine.kill(before, how)
    until(lambda: site.pid not in (0, before), extra_s + CONTROL_WITHIN_S, "another process")
    until(site.in_control, extra_s + CONTROL_WITHIN_S - (time.monotonic() - at_s), "control")
    took_s = time.monotonic() - at_s
    assert int(site.shows("NRestarts")) == restarts + 1
    run.say(f"{how.name}: in control after {took_s:.1f} s, by systemd's restart number {restarts + 1}")
    run.quiet_since(at_s, f"{took_s:.0f} s without control")
    assert any(event["name"] == "resumed" for event in site.status()["events"])
    run.say(f"resumed from the journal; {site.sim.writes() - writes} commands since")


def reload_good(run: Run) -> None:
    """a reload: same process, new files, the load stays"""
    site = run.site
    before, at_s = site.pid, time.monotonic()
    cursor = site.cursor()
    site.write_files(control_surplus_margin="1.2 %")
    run.machine.run("systemctl", "reload", UNIT)
    until(lambda: '"resumed"' in site.log(cursor) and site.in_control(), CONTROL_WITHIN_S, "control on the new files")
    assert site.pid == before, "another process"
    run.say(f"systemctl reload: process {before} in control again after {time.monotonic() - at_s:.1f} s, {site.state}")
    run.quiet_since(at_s, "the reload")


def reload_broken(run: Run) -> None:
    """a reload with a broken inventory: refused, by systemctl and by the daemon, and the old one stays"""
    site, machine = run.site, run.machine
    before, at_s, cursor = site.pid, time.monotonic(), site.cursor()
    inventory = machine.path(f"{FOLDER}/fleet.csv")
    good = inventory.read_text()
    inventory.write_text(good.replace("Antminer S21", "Antminer S12", 1))
    code, said = machine.ran("systemctl", "reload", UNIT)
    assert code != 0, "systemctl reload was content"
    run.say(f"systemctl reload: exit code {code}; {said.splitlines()[0]}")
    until(lambda: "Antminer S12" in site.log(cursor), 5, "the reason in the log")
    machine.kill(before, signal.SIGHUP)
    until(lambda: "reload_refused" in site.log(cursor), 10, "the daemon's own refusal")
    run.say(next(line for line in site.log(cursor).splitlines() if "reload_refused" in line)[:300])
    inventory.write_text(good)
    assert site.pid == before
    assert site.in_control()
    run.quiet_since(at_s, "both")


def refused_start(run: Run) -> None:
    """its port is taken: tried again for as long as it takes, without filling the log"""
    site = run.site
    run.machine.run("systemctl", "stop", UNIT)
    cursor = site.cursor()
    at_s = time.monotonic()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", METRICS_PORT))
        taken.listen()
        code, _ = run.machine.ran("systemctl", "start", UNIT)
        assert code != 0, "it started all the same"
        time.sleep(REFUSED_FOR_S)
        restarts, lines = int(site.shows("NRestarts")), len(site.log(cursor).splitlines())
    assert restarts >= 1
    freed_s = time.monotonic()
    until(site.in_control, CONTROL_WITHIN_S + 2.0, "control after the port was free")
    run.say(
        f"{restarts} more attempts and {lines} lines of log in {freed_s - at_s:.0f} s; "
        f"in control {time.monotonic() - freed_s:.1f} s after the port was free"
    )
    run.quiet_since(at_s, "all of it")


def upgrade(run: Run) -> None:
    """an upgrade under load"""
    site = run.site
    site.settle()
    writes, at_s = site.sim.writes(), time.monotonic()
    run.setup("upgrade", "--wheel", run.later, "--wheelhouse", "/shared/wheelhouse")
    assert site.status()["versions"]["curtaild"] == "0.99.0"
    run.quiet_since(at_s, f"{time.monotonic() - at_s:.0f} s of upgrade")
    assert any(event["name"] == "resumed" for event in site.status()["events"])
    run.say(f"resumed from the journal; {site.sim.writes() - writes} commands since the upgrade began")
    run.setup("status")


def upgrade_broken(run: Run) -> None:
    """an upgrade to a version that does not come up: the one before is started again"""
    site = run.site
    at_s = time.monotonic()
    run.setup("upgrade", "--wheel", run.broken, "--wheelhouse", "/shared/wheelhouse", code=1)
    until(site.in_control, CONTROL_WITHIN_S, "control")
    assert site.status()["versions"]["curtaild"] == "0.99.0"
    run.quiet_since(at_s, "there and back")


def upgrade_refused(run: Run) -> None:
    """an upgrade with a site file that is refused: nothing is switched, nothing restarted"""
    site, before = run.site, run.site.pid
    run.machine.write("/etc/curtaild/half-made/site.toml", '[site]\nid = "half-made"\n')
    output = run.setup("upgrade", "--wheel", run.broken, "--wheelhouse", "/shared/wheelhouse", code=3)
    assert "half-made: refused" in output
    assert site.pid == before
    run.machine.run("rm", "-r", "/etc/curtaild/half-made")


def rollback(run: Run) -> None:
    """back to the version before"""
    site, at_s = run.site, time.monotonic()
    site.settle()
    run.setup("rollback")
    assert site.status()["versions"]["curtaild"] != "0.99.0"
    run.quiet_since(at_s, "the way back")


def newer_journal(run: Run) -> None:
    """back to a version that cannot read the journal: refused, until told what it costs"""
    site, machine = run.site, run.machine
    path = f"/var/lib/private/curtaild/{SITE}/journal.sqlite"
    machine.run("systemctl", "stop", UNIT)
    raised = f"import sqlite3; db = sqlite3.connect('{path}'); db.execute('PRAGMA user_version=99'); db.close()"
    machine.run("sh", "-c", f'python3 -c "{raised}" && chown --reference=/var/lib/private/curtaild/{SITE} {path}*')
    run.setup("rollback", code=3)
    run.setup("rollback", "--move-journals")
    machine.run("systemctl", "start", UNIT)
    until(site.in_control, CONTROL_WITHIN_S, "control")
    assert any(event["name"] == "fresh_start" for event in site.status()["events"])


def stop(run: Run) -> None:
    """a stop moves nothing"""
    site, at_s = run.site, time.monotonic()
    run.machine.run("systemctl", "stop", UNIT)
    run.say(f"stopped in {time.monotonic() - at_s:.1f} s")
    run.quiet_since(at_s, "the stop")
    assert site.shows("Result") == "success"


def uninstall(run: Run) -> None:
    """away: configuration and journal stay, until they are to go as well"""
    machine = run.machine
    run.setup("uninstall", "--yes")
    for gone in ("/opt/curtaild", "/usr/local/bin/curtaild", "/usr/local/lib/systemd/system/curtaild@.service"):
        assert not machine.path(gone).exists(), gone
    for kept in (f"{FOLDER}/site.toml", f"/var/lib/private/curtaild/{SITE}/journal.sqlite"):
        assert machine.path(kept).exists(), kept
    code, output = machine.ran("sh", "-c", "/src/deploy/install.sh uninstall --yes --purge")
    assert code == 0, output
    assert not machine.path("/etc/curtaild").exists()
    assert not machine.path("/var/lib/private/curtaild").exists()
    run.say(f"$ /src/deploy/install.sh uninstall --yes --purge\n{output}")


STEPS: list[Callable[[Run], None]] = [
    install, start, confinement, people, scrape, sigkill, watchdog, reload_good, reload_broken, refused_start,
    upgrade, upgrade_broken, upgrade_refused, rollback, newer_journal, stop, uninstall,
]  # fmt: skip
