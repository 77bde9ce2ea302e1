"""The daemon as a whole, where no process is needed to see it: what a refused start says and leaves behind."""

from __future__ import annotations

import fcntl
import shutil
import threading
from pathlib import Path

import pytest

from controller.app import serve
from controller.config import SiteConfig, load_site
from controller.devices import StartRefusedError
from controller.runtime.journal import JournalInUseError
from drivers.catalog import known_models

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "site-demo.toml"


def site_with(folder: Path) -> SiteConfig:
    """The example site under an id of its own, with its journal and its socket in `folder`."""
    places = {"STATE_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder)}
    beside = folder if folder.is_dir() else folder.parents[1]
    shutil.copy(EXAMPLE.with_name("fleet-demo.csv"), beside)
    path = beside / "site.toml"
    path.write_text(EXAMPLE.read_text().replace('id = "demo"', 'id = "of-a-test"', 1))
    return load_site(path, known_models(), places)


def test_a_journal_directory_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefusedError, match="file/deeper, the journal's directory, cannot be made"):
        serve(site_with(tmp_path / "file" / "deeper"))


def test_a_refused_start_leaves_no_thread_that_holds_back_log_lines(tmp_path: Path) -> None:
    with (tmp_path / "journal.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JournalInUseError):
            serve(site_with(tmp_path))
    assert not {thread.name for thread in threading.enumerate()} & {"log", "journal"}
