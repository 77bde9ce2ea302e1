"""A disk that fails under a running site: it is lowered all the same, nothing is raised, and a person is called."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.domain.journalling import RowKind
from controller.runtime.console import ask
from controller.runtime.journal_file import read_rows
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

SMALL = {"s21": 2, "s19jpro": 6}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, which can be filled and turned read-only."""
    if os.geteuid() != 0:
        if os.environ.get("CURTAILD_REQUIRE_MOUNT"):
            pytest.fail("only root can mount a disk, and here these tests must run")
        pytest.skip("only root can mount a disk")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def site_on(make_site: MakeSite, name: str, disk: Path | None, **changes: dict[str, object]) -> SmallSite:
    """A site with all eight miners hashing below its surplus, its journal on the disk."""
    site = make_site(name, surplus_kw=30, models=SMALL, hashing=8)
    journal = {} if disk is None else {"journal": {"directory": str(disk)}}
    site.configure(restart={"crash_limit": 50}, console={"socket": str(site.folder / "c.sock")}, **journal, **changes)
    return site


def lower(site: SmallSite, to_kw: float) -> None:
    site.sim.surplus.power_w = to_kw * 1e3
    until(lambda: site.sim.load_kw < to_kw + 0.3, 15, f"down to {to_kw:g} kW")


def is_not_raised(site: SmallSite) -> None:
    """Though there is surplus for everybody."""
    load = site.sim.load_kw
    site.sim.surplus.power_w = 40e3
    always(lambda: site.sim.load_kw < load + 0.4, 3.0, "raised unrecorded")


def rises(site: SmallSite) -> None:
    load = site.sim.load_kw
    site.sim.surplus.power_w = 40e3
    until(lambda: site.sim.load_kw > load + 2, 25, "raised again")


def status(site: SmallSite) -> dict[str, object]:
    return ask(site.folder / "c.sock", "status", {})


def test_a_full_disk_lowers_and_does_not_raise_and_one_that_has_room_again_raises(
    make_site: MakeSite, disk: Path
) -> None:
    site = site_on(make_site, "full", disk)
    site.daemon.start()
    ballast = disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    alarm = until(lambda: site.daemon.events("journal_not_writable"), 10, "the alarm")[0]
    assert (alarm["level"], "nothing is raised" in alarm["text"]) == ("error", True)
    lower(site, 10)
    is_not_raised(site)
    assert status(site)["setpoint"]["source"] == "journal not writable"
    ballast.unlink()
    until(lambda: site.daemon.events("journal_writable"), 10, "the journal written again")
    rises(site)
    assert site.daemon.end() == 0
    assert [row.kind for row in site_rows(disk, RowKind.STOP)] == [RowKind.STOP]


def test_a_disk_that_is_read_only_at_the_start_keeps_no_site_from_being_lowered(
    make_site: MakeSite, disk: Path
) -> None:
    site = site_on(make_site, "readonly", disk)
    site.daemon.start()
    lower(site, 9)  # below what trimming alone can reach
    assert site.sim.asleep()
    site.daemon.end(signal.SIGKILL)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    site.daemon.start()
    assert until(lambda: site.daemon.events("journal_not_writable"), 10, "the alarm")
    assert site.daemon.events("resumed"), "what stands in the journal can still be read"
    lower(site, 6)
    is_not_raised(site)
    assert site.daemon.end() == 0
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    site.daemon.start()
    rises(site)
    assert site.daemon.end() == 0


def test_a_torn_last_write_costs_that_write_and_a_damaged_journal_is_set_aside(make_site: MakeSite) -> None:
    site = site_on(make_site, "torn", None)
    site.daemon.start()
    lower(site, 10)
    site.daemon.end(signal.SIGKILL)
    rows = len(site.rows())
    wal = site.journal.with_name("journal.sqlite-wal")
    with wal.open("r+b") as file:  # in the middle of its last frame
        file.truncate(wal.stat().st_size - 2500)
    site.daemon.start()
    assert site.daemon.events("resumed")
    assert not site.daemon.events("journal_corrupt")
    assert len(site.rows()) > rows - 40, "more was lost than the last commit"
    assert status(site)["miners"]["foreign_sleeper"] == 0
    rises(site)
    lower(site, 10)
    ours = set(site.sim.asleep())
    site.daemon.end(signal.SIGKILL)
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        with site.journal.with_name(name).open("r+b") as file:
            file.write(b"\xff" * 8192)
    site.daemon.start()
    alarm = until(lambda: site.daemon.events("journal_corrupt"), 5, "the alarm")[0]
    assert (alarm["level"], "moved to journal.sqlite.corrupt-" in alarm["text"]) == ("error", True)
    assert site.daemon.events("fresh_start")
    # Who slept by our order is forgotten with it: they are left asleep, which is the safe side, and can be adopted.
    until(lambda: status(site)["miners"]["foreign_sleeper"] == len(ours), 10, "sleepers left alone")
    lower(site, 5.5)
    assert site.cli("adopt", "--all").code == 0
    rises(site)
    assert site.daemon.end() == 0


def site_rows(disk: Path, *kinds: RowKind) -> list[object]:
    return list(read_rows(disk / "journal.sqlite", kinds))
