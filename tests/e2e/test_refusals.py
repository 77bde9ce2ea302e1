"""Starts that must not happen: each ends with code 2, clear words, and nothing moved."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import CURTAILD, Ran, SmallSite, curtaild, until


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite) -> SmallSite:
    """A site whose daemon runs."""
    made = make_module_site("refused", surplus_kw=45)
    made.configure()
    made.daemon.start()
    return made


def start(site: SmallSite, old: str, new: str) -> Ran:
    """Start a second daemon on this site's file with one text replaced, on a journal of its own."""
    text = site.config.read_text()
    assert old in text
    folder = site.folder / "other"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(site.folder / "fleet.csv", folder)
    (folder / "site.toml").write_text(text.replace(old, new))
    return curtaild("run", "--config", str(folder / "site.toml"), within_s=20)


def test_a_second_daemon_on_the_same_journal_is_refused_and_the_first_goes_on(site: SmallSite) -> None:
    ran = curtaild("run", "--config", str(site.config), within_s=20)
    assert ran.code == 2
    assert f"in use by process {site.daemon.process.pid}" in ran.errors
    assert "nothing was started, nothing was moved" in ran.errors
    beats = site.daemon.told.count("WATCHDOG=1")
    until(lambda: site.daemon.told.count("WATCHDOG=1") > beats + 1, 5, "the first daemon's watchdog")
    assert site.status()["fail_safe"] == "good"


def test_a_broken_site_file_is_refused_with_every_problem_at_once(site: SmallSite) -> None:
    ran = start(site, 'auxiliary = "1 kW"', 'auxiliary = "1 furlong"\ncolour = "blue"')
    assert ran.code == 2
    assert "furlong" in ran.errors
    assert "colour" in ran.errors
    assert "nothing was started" in ran.errors
    assert "Traceback" not in ran.errors
    missing = curtaild("run", "--config", str(site.folder / "no-such.toml"))
    assert (missing.code, "does not exist" in missing.errors) == (2, True)


def test_an_unknown_register_map_is_refused_by_name(site: SmallSite) -> None:
    ran = start(site, 'map = "plant_dcs"', 'map = "plant_xyz"')
    assert ran.code == 2
    assert "plant_xyz" in ran.errors
    assert "Traceback" not in ran.errors


def test_a_metrics_port_that_is_taken_is_refused(site: SmallSite) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = start(site, 'listen = "127.0.0.1:0"', f'listen = "127.0.0.1:{port}"')
    assert ran.code == 2
    assert str(port) in ran.errors
    assert "Traceback" not in ran.errors
    assert not list((site.folder / "other" / "state").rglob("control.sock")), "the console socket was left behind"


def test_too_few_open_files_are_refused_with_the_number_needed(site: SmallSite) -> None:
    command = f"ulimit -n 100; exec {CURTAILD} run --config {site.config}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "16 miners need up to" in done.stderr
    assert "100" in done.stderr
