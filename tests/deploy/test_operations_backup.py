"""Backup and restore as docs/operations.md says it, word for word, on the journal of a daemon at work."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controller.domain.journalling import RowKind
from tests.deploy.watching import OPERATIONS
from tests.e2e.conftest import MakeSite, make_site  # noqa: F401  # a fixture
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until

# How the page is followed: its own statements, on the test's own paths.
BACKUP = re.search(
    r"^sqlite3 -readonly \S+/journal\.sqlite \"(VACUUM INTO '/backup/\S+')\"$", OPERATIONS.read_text(), re.M
)
FRESH_START = {"fresh_start", "resume_failed"}


def backed_up(journal: Path, target: Path) -> None:
    assert BACKUP, "the page says how"
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        db.execute(re.sub(r"'.*'", f"'{target}'", BACKUP[1]))
    with closing(sqlite3.connect(target)) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)


@pytest.fixture
def site(make_site: MakeSite) -> SmallSite:  # noqa: F811
    """Half asleep, by our order."""
    made = make_site("kept", surplus_kw=25)
    made.configure(fleet={"adopt_sleepers_at_start": False})
    made.daemon.start()
    until(lambda: made.sim.load_kw < 30 and len(made.sim.asleep()) > 4, 30, "curtailed")
    until(lambda: made.ask("status")["miners"]["asleep"] > 4, 10, "and known to be asleep")
    return made


def test_a_copy_made_while_the_daemon_works_is_whole_and_a_restored_site_knows_its_sleepers(
    site: SmallSite, tmp_path: Path
) -> None:
    copy = tmp_path / "site.sqlite"
    cycles = len(site.rows(RowKind.DECISION))
    newest = site.rows(RowKind.CHECKPOINT)[-1]
    until(lambda: site.rows(RowKind.CHECKPOINT)[-1] != newest, 15, "a checkpoint with the sleepers")
    backed_up(site.journal, copy)
    until(lambda: len(site.rows(RowKind.DECISION)) > cycles + 4, 10, "the daemon goes on writing")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        backed_up(site.journal, copy)

    asleep = len(site.sim.asleep())
    assert site.daemon.end() == 0
    for part in site.journal.parent.glob("journal.sqlite*"):
        part.rename(tmp_path / f"old-{part.name}")
    shutil.copy(copy, site.journal)
    site.daemon.log.unlink()
    site.daemon.start()
    assert [event["level"] for event in site.daemon.events("resumed")] == ["info"]
    assert not [name for name in FRESH_START if site.daemon.events(name)]
    until(lambda: site.ask("status")["miners"]["asleep"] >= asleep - 1, 10, "its sleepers known again")
    assert site.ask("status")["miners"]["foreign_sleeper"] == 0
