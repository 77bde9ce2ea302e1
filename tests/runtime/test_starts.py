"""Crashes are counted across starts, by the boot clock, in a file that may be torn or out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.runtime.starts import Starts

LIMIT, WINDOW_S = 3, 600.0


class Host:
    """A boot clock and a boot id under the test's hand."""

    def __init__(self, path: Path) -> None:
        self.path, self.now, self.boot = path, 100.0, "one"

    def starts(self) -> Starts:
        return Starts(self.path, lambda: self.now, lambda: self.boot)

    def crash(self, every_s: float = 5.0) -> None:
        """A start that is never ended."""
        self.starts().begin(LIMIT, WINDOW_S)
        self.now += every_s


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "run" / "starts.json")


def test_the_limit_within_the_window_means_safe_mode(host: Host) -> None:
    for _ in range(LIMIT):
        assert not host.starts().begin(LIMIT, WINDOW_S).safe_mode
        host.now += 5.0
    begun = host.starts().begin(LIMIT, WINDOW_S)
    assert (begun.safe_mode, begun.unclean) == (True, LIMIT)


def test_crashes_further_apart_than_the_window_are_bad_luck(host: Host) -> None:
    for _ in range(3 * LIMIT):
        host.crash(0.6 * WINDOW_S)
    assert not host.starts().begin(LIMIT, WINDOW_S).safe_mode


def test_an_orderly_end_forgets_everything(host: Host) -> None:
    for _ in range(LIMIT):
        host.crash()
    stopped = host.starts()
    assert stopped.begin(LIMIT, WINDOW_S).safe_mode
    stopped.end()
    assert host.starts().begin(LIMIT, WINDOW_S).unclean == 0


def test_safe_mode_outlives_its_own_crash_however_late(host: Host) -> None:
    for _ in range(LIMIT + 1):
        host.crash()
    host.now += 100 * WINDOW_S
    assert host.starts().begin(LIMIT, WINDOW_S).safe_mode


def test_a_power_cut_is_no_crash(host: Host) -> None:
    for _ in range(LIMIT):
        host.crash()
    host.boot, host.now = "two", 3.0
    begun = host.starts().begin(LIMIT, WINDOW_S)
    assert (begun.safe_mode, begun.unclean) == (False, 0)


def test_a_refused_start_is_no_crash_and_forgives_none(host: Host) -> None:
    for _ in range(LIMIT - 1):
        host.crash()
        for _ in range(3):
            refused = host.starts()
            assert not refused.begin(LIMIT, WINDOW_S).safe_mode
            refused.withdraw()
    begun = host.starts().begin(LIMIT, WINDOW_S)
    assert (begun.safe_mode, begun.unclean) == (False, LIMIT - 1)
    for _ in range(2):
        refused = host.starts()
        assert refused.begin(LIMIT, WINDOW_S).safe_mode, "a refusal does not end safe mode either"
        refused.withdraw()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"unclean": "many", "running": 1}', '{"unclean": [null, {}]}', "\0"])
def test_a_torn_record_keeps_nobody_from_starting(host: Host, text: str) -> None:
    host.path.parent.mkdir()
    host.path.write_text(text)
    assert not host.starts().begin(LIMIT, WINDOW_S).safe_mode


def test_a_record_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    begun = Host(tmp_path / "file" / "starts.json").starts().begin(LIMIT, WINDOW_S)
    assert "cannot be written" in begun.trouble
