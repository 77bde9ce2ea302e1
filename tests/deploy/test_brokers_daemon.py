"""The real daemon and the real commands over TLS on the shipped brokers: the desk orders, the observer cannot."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.brokers import ShippedBroker
from tests.e2e.processes import CURTAILD, Ran, curtaild
from tests.e2e.simulated import Simulators
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until

SITE = "dasu-1"


@pytest.fixture
def site(own_broker: ShippedBroker, tmp_path: Path) -> Iterator[SmallSite]:
    """A site under a dispatcher's lease, with the certificate of its name."""
    simulators = Simulators(surplus_kw=40, models={"s21": 4, "s19jpro": 4}, hashing=6, behaviours={})
    simulators.start()
    folder = tmp_path / "site"
    folder.mkdir()
    site = SmallSite(folder, SITE, simulators)
    files = own_broker.certificates
    site.configure(
        own_broker.port,
        dispatch={
            "tls": True,
            "ca_file": str(files / "ca.pem"),
            "certificate_file": str(files / f"{SITE}.pem"),
            "key_file": str(files / f"{SITE}.key"),
            "lease": "required",
            "heartbeat_lost_after": "5 s",
        },
        ramp={"fallback": "1000 %/min"},
    )
    yield site
    site.close()


def where(broker: ShippedBroker, identity: str) -> tuple[str, ...]:
    files = broker.certificates
    return (
        *("--site", SITE, "--broker", f"127.0.0.1:{broker.port}", "--tls-ca", str(files / "ca.pem")),
        *("--tls-certificate", str(files / f"{identity}.pem"), "--tls-key", str(files / f"{identity}.key")),
    )


def order(broker: ShippedBroker, identity: str, *arguments: str) -> Ran:
    return curtaild("dispatch", *where(broker, identity), *arguments)


@contextmanager
def heartbeats(broker: ShippedBroker, identity: str) -> Iterator[None]:
    command = [CURTAILD, "heartbeat", *where(broker, identity), "--every", "0.5s"]
    beating = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
        beating.send_signal(signal.SIGINT)
        assert beating.wait(10) == 0
    finally:
        if beating.poll() is None:
            beating.kill()
            beating.wait()


def test_the_desk_leads_the_site_and_the_observer_moves_nothing(own_broker: ShippedBroker, site: SmallSite) -> None:
    site.daemon.start()

    def lease() -> str:
        return str(site.status()["inputs"][-1]["condition"])

    def knows(ran: Ran) -> bool:
        """Whether the site's journal has the order in it."""
        order_id = ran.out.split()[0]
        return any(order_id in str(row) for row in site.rows())

    until(lambda: site.daemon.events("broker_connected"), 5, "the daemon at the broker")
    alone = lease()
    with heartbeats(own_broker, "observer.programme"):
        refused = order(own_broker, "observer.programme", "cap", "15kW", "--within", "3s")
        assert (refused.code, "access rules" in refused.out) == (4, True), refused.out
        assert lease() == alone, "an observer's heartbeat counted"
    assert (knows(refused), site.status()["orders"]) == (False, [])

    with heartbeats(own_broker, "desk.north"):
        until(lambda: lease() == "heartbeat, no fresh order", 10, "the desk's heartbeats")
        ordered = order(own_broker, "desk.north", "cap", "15kW", "--wait", "accepted")
        assert (ordered.code, "ACCEPTED" in ordered.out) == (0, True), ordered.out
        until(lambda: lease() == "lease held", 10, "the lease")
    assert knows(ordered)
    assert [one["kw"] for one in site.status()["orders"]] == [15.0]


def test_a_certificate_without_its_key_or_without_an_authority_is_refused_before_anything_is_sent(
    programme: Path,
) -> None:
    ca, certificate, key = (
        (option, str(programme / name))
        for option, name in (
            ("--tls-ca", "ca.pem"),
            ("--tls-certificate", "desk.north.pem"),
            ("--tls-key", "desk.north.key"),
        )
    )
    half = curtaild("dispatch", "--site", SITE, *ca, *certificate, "release")
    assert (half.code, "--tls-key" in half.errors) == (2, True)
    whom = curtaild("heartbeat", "--site", SITE, *certificate, *key)
    assert (whom.code, "--tls-ca is missing" in whom.errors) == (2, True)
