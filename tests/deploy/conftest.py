"""Brokers on the shipped configuration, for the tests of this folder that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.brokers import KINDS, ShippedBroker, make_programme
from tests.runtime.conftest import installed


@pytest.fixture(scope="session")
def programme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_programme(tmp_path_factory.mktemp("programme"))


@pytest.fixture(scope="module", params=["nats", "mosquitto"])
def broker(
    request: pytest.FixtureRequest, programme: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShippedBroker]:
    """A broker on the shipped files, for tests that leave it as it was."""
    kind = installed(request.param)
    with KINDS[kind](tmp_path_factory.mktemp(kind), programme) as running:
        yield running


@pytest.fixture(params=["nats", "mosquitto"])
def own_broker(request: pytest.FixtureRequest, programme: Path, tmp_path: Path) -> Iterator[ShippedBroker]:
    """A broker for one test to kill, reload and change."""
    with KINDS[installed(request.param)](tmp_path, programme) as running:
        yield running
