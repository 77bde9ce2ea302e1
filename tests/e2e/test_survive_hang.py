"""A control loop that hangs while the process lives: systemd hears nothing, and so kills and restarts it.

Only the loop's thread is stopped, as a call that never comes back would stop it; every other thread runs on.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import MakeSite
from tests.e2e.waiting import until

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # ptrace(2)
ANY_THREAD = 0x40000000  # __WALL of waitpid(2)
CYCLE_S = 0.25


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """One thread of a child process stands still."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(thread, ANY_THREAD)
    try:
        yield
    finally:
        libc.ptrace(DETACH, thread, None, None)


def states(pid: int) -> dict[int, str]:
    """Each thread's state as the kernel names it."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {int(thread.name): (thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads}


def test_no_watchdog_beat_comes_from_anywhere_but_a_healthy_cycle(make_site: MakeSite) -> None:
    site = make_site("hang", surplus_kw=45)
    site.configure()
    site.daemon.start()
    told, pid = site.daemon.told, site.daemon.process.pid
    until(lambda: told.count("WATCHDOG=1") > 4, 5, "beats of a healthy loop")
    with stopped(pid):
        time.sleep(2 * CYCLE_S)  # what was sent before is heard
        beats = told.count("WATCHDOG=1")
        time.sleep(8 * CYCLE_S)
        running = {thread: state for thread, state in states(pid).items() if thread != pid}
        assert running, "there are other threads"
        assert set(running.values()) <= {"S", "R", "D"}, f"they run on: {running}"
        assert told.count("WATCHDOG=1") == beats
    until(lambda: told.count("WATCHDOG=1") > beats + 2, 5, "beats again once the loop turns")
    (warm,) = until(lambda: site.daemon.events("warmed_up"), 5, "warmed up")
    assert warm["objects"] > 50_000, "no full collection walks what was built at the start"
    assert site.daemon.end() == 0
