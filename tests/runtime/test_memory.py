"""One heap for all threads, as the C library itself tells."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import ctypes, sys, threading
from controller.runtime import memory
if sys.argv[1] == "settled":
    assert memory.settle()
kept = []
def work():
    kept.append([bytearray(5_000) for _ in range(100)])
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
"""


@pytest.mark.parametrize(("settled", "one"), [("settled", True), ("as it comes", False)])
def test_threads_share_one_heap(settled: str, one: bool) -> None:
    said = subprocess.run(
        [sys.executable, "-c", CHILD, settled], capture_output=True, text=True, check=True, timeout=60
    )
    assert (said.stdout.count("<heap nr=") == 1) is one, said.stdout
