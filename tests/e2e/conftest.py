"""The broker of all tests of this folder, and sites that are taken down again whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from simulators.asic.response import Behaviour, ResponseTimes
from tests.e2e.simulated import RESPONSE, Simulators
from tests.e2e.small_site import SmallSite
from tests.runtime.conftest import Broker, installed

FLEET = {"s21": 4, "s19xp": 4, "s19kpro": 4, "s19jpro": 4}

MakeSite = Callable[..., SmallSite]


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for every site; each site has topics of its own."""
    with Broker("nats", tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(scope="module", params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Each kind of broker in turn, with its whole module behind it."""
    kind = installed(request.param)
    with Broker(kind, tmp_path_factory.mktemp(kind)) as running:
        yield running


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[Broker]:
    """A broker for one test to stop and start again."""
    with Broker("nats", tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def make_module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    yield from _maker(lambda name: tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def make_site_on_broker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """As `make_module_site`; the sites go before their broker does."""
    yield from _maker(lambda name: tmp_path_factory.mktemp(name))


@pytest.fixture
def make_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Builds sites with running simulators and a daemon that is not started yet."""
    yield from _maker(lambda name: tmp_path_factory.mktemp(name))


def _maker(folder_of: Callable[[str], Path]) -> Iterator[MakeSite]:
    made: list[SmallSite] = []

    def make(
        site_id: str,
        *,
        surplus_kw: float,
        models: Mapping[str, int] = FLEET,
        hashing: int = 16,
        behaviours: Mapping[int, Behaviour] | None = None,
        response: ResponseTimes = RESPONSE,
    ) -> SmallSite:
        simulators = Simulators(
            surplus_kw=surplus_kw, models=models, hashing=hashing, behaviours=behaviours or {}, response=response
        )
        simulators.start()
        site = SmallSite(folder_of(site_id), site_id, simulators)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()
