"""Meters and broker that go away: the load only ever falls, and comes back when they do."""

from __future__ import annotations

import pytest

from simulators.modbus_server import WireFault, WireKind
from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import Dispatcher
from tests.e2e.small_site import SmallSite, always, until
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}
SHORT = {
    "hold_after": "0.6 s",
    "freeze_after": "1.5 s",
    "fallback_after": "3 s",
    "fallback_offset_max": "0 s",
    "rearm_after": "1 s",
}


def states_of(site: SmallSite, name: str) -> list[str]:
    """The states an input went through, from the log."""
    texts = [event["text"] for event in site.daemon.events("input_state")]
    return [text.split(" -> ")[1].split(" ")[0] for text in texts if text.startswith(f"{name}:")]


@pytest.mark.parametrize(
    ("meter", "name", "kind"),
    [("poi", "poi", WireKind.SILENT), ("site", "site", WireKind.REFUSED), ("dcs", "plant", WireKind.GARBAGE)],
)
def test_without_one_of_its_meters_the_site_holds_freezes_and_falls_to_the_fallback_and_comes_back(
    make_site: MakeSite, meter: str, name: str, kind: WireKind
) -> None:
    site = make_site(f"blind-{meter}", surplus_kw=18, models=SMALL, hashing=8)
    site.configure(failsafe=SHORT, ramp={"fallback": "1000 %/min"})
    site.daemon.start()
    sim = site.sim
    until(lambda: 15 < sim.load_kw < 18, 15, "load near the surplus")
    server = {"poi": sim.host.poi_server, "site": sim.host.site_server, "dcs": sim.host.dcs_server}[meter]
    sim.call(server.set_fault(WireFault(kind)))
    sim.surplus.power_w = 26e3  # nobody can see it
    highest = sim.load_kw

    def fallen() -> bool:
        assert sim.load_kw < highest + 0.6, "the blind site rose"
        return sim.load_kw < 5.8

    until(fallen, 20, "down to the fallback")
    assert states_of(site, name) == ["good", "hold", "frozen_up", "fallback"]
    assert site.status()["fail_safe"] == "fallback"
    sim.call(server.set_fault(None))
    until(lambda: sim.load_kw > 8, 25, "load up again")
    assert states_of(site, name)[-1] == "good"


def test_a_site_that_loses_its_broker_follows_its_surplus_and_answers_when_it_is_back(
    make_site: MakeSite, own_nats: Broker
) -> None:
    site = make_site("brokerless", surplus_kw=18, models=SMALL, hashing=8)
    site.configure(own_nats.port)
    site.daemon.start()
    sim = site.sim
    until(lambda: 15 < sim.load_kw < 18 and site.daemon.events("broker_connected"), 15, "load near the surplus")
    own_nats.stop()
    until(lambda: site.daemon.events("broker_lost"), 10, "the loss in the log")
    sim.surplus.power_w = 12e3
    until(lambda: 8 < sim.load_kw < 12, 12, "load after the surplus without a broker")
    own_nats.start()
    until(lambda: len(site.daemon.events("broker_connected")) == 2, 20, "the broker back")
    with Dispatcher(own_nats.port, site.id) as dispatcher:
        dispatcher.send(id="later", seq=1, kw=11)
        until(lambda: "ACCEPTED" in dispatcher.statuses("later"), 10, "an answer")
        until(lambda: any(state["online"] for state in dispatcher.states), 10, "the state")


def test_in_observe_mode_everything_is_decided_and_nothing_is_commanded(make_site: MakeSite) -> None:
    site = make_site("observing", surplus_kw=15, models=SMALL, hashing=8)
    site.configure(control={"mode": "observe"})
    site.daemon.start()
    until(lambda: site.status()["figures"]["cap_kw"] < 15, 10, "a cap below the load")
    always(lambda: site.sim.load_kw > 20, 3, "the load moved")
    assert site.sim.writes() == 0
    assert site.status()["mode"] == "observe"
    assert site.daemon.end() == 0
