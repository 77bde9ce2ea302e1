"""The pyasic door: the one module that imports pyasic. pyasic stays as published.

The daemon's own calls do not go through pyasic's coroutines: they wait 100 s for a silent miner, take a closed port for
success and leave sockets open (docs/decisions/0010). What is used of it: the cryptography of WhatsMiner writes, and its
classes as the reference that tests compare our bytes with and the benchmark our times.

Importing it takes about 0.7 s and turns the root logger to WARNING; it happens when something of it is first needed,
with the logging set-up put back as it was.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

WRITTEN_FOR: Final = "0.79"
"""The pyasic minor version whose wire was read and compared; a test fails when another one is installed."""


def import_factory() -> Any:  # pyasic's modules carry no types
    """pyasic's classes by family and model."""
    with _logging_as_it_was():
        from pyasic.miners import factory
    return factory


def import_btminer() -> Any:
    """pyasic's module about WhatsMiner tokens and encrypted writes."""
    with _logging_as_it_was():
        from pyasic.rpc import btminer
    return btminer


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Importing pyasic sets the root logger's level and handlers; the application's set-up is put back."""
    root = logging.getLogger()
    kept = [(logger, logger.level) for logger in (root, logging.getLogger("asyncssh"))]
    handlers = list(root.handlers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations; nothing an operator of ours can act on
            yield
    finally:
        for logger, level in kept:
            logger.setLevel(level)
        root.handlers[:] = handlers
