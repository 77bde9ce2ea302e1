"""Meters and broker that go away: the load only ever falls, and comes back when they do."""

from __future__ import annotations

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


SEEN_KW = 21.0  # the eight miners could draw 24
BLINDINGS = (("poi", "poi", WireKind.SILENT), ("site", "site", WireKind.REFUSED), ("dcs", "plant", WireKind.GARBAGE))


def test_without_one_of_its_meters_a_site_holds_freezes_and_falls_to_the_fallback_and_comes_back(
    make_site: MakeSite,
) -> None:
    """Three sites side by side, each losing another meter in another way."""
    blinded = [
        Blinded(make_site(f"blind-{meter}", surplus_kw=SEEN_KW, models=SMALL, hashing=8), meter, name)
        for meter, name, _ in BLINDINGS
    ]
    for one in blinded:
        one.site.configure(failsafe=SHORT, ramp={"fallback": "1000 %/min"})
        one.site.daemon.start(wait=False)
    until(lambda: all(one.follows() for one in blinded), 30, "load down to the surplus")
    for one, (_, _, kind) in zip(blinded, BLINDINGS, strict=True):
        one.fail(WireFault(kind))
    until(lambda: all("hold" in one.states() for one in blinded), 10, "doubt")
    for one in blinded:
        one.site.sim.surplus.power_w = 30e3  # nobody can see it
    until(lambda: sum(one.fallen() for one in blinded) == len(blinded), 25, "down to the fallback")
    for one in blinded:
        assert one.states() == ["hold", "frozen_up", "fallback"]
        assert one.site.status()["fail_safe"] == "fallback"
        one.fail(None)
    until(lambda: all(one.site.sim.load_kw > 8 for one in blinded), 25, "load up again")
    for one in blinded:
        assert "good" in one.states()


class Blinded:
    """A site, the server of the meter it loses, and what the daemon calls that input."""

    def __init__(self, site: SmallSite, meter: str, name: str) -> None:
        self.site = site
        self._server = getattr(site.sim.host, f"{meter}_server")
        self._name = name
        self._before = 0

    def fail(self, fault: WireFault | None) -> None:
        self._before = len(self._all_states())
        self.site.sim.call(self._server.set_fault(fault))

    def states(self) -> list[str]:
        """The states this input went through since the last `fail`, from the log."""
        return self._all_states()[self._before :]

    def _all_states(self) -> list[str]:
        texts = [event["text"] for event in self.site.daemon.events("input_state")]
        return [text.split(" -> ")[1].split(" ")[0] for text in texts if text.startswith(f"{self._name}:")]

    def follows(self) -> bool:
        """Below the surplus, with an input that is believed."""
        return self.site.sim.load_kw < SEEN_KW and self._all_states()[-1:] == ["good"]

    def fallen(self) -> bool:
        """Down at the fallback; fails when the load is above the last surplus anybody saw."""
        load_kw = self.site.sim.load_kw
        assert load_kw < SEEN_KW + 0.02 * self.site.sim.rated_w / 1e3, "the blind site rose"
        return load_kw < 5.8


def test_a_site_that_loses_its_broker_follows_its_surplus_and_answers_when_it_is_back(
    make_site: MakeSite, own_nats: Broker
) -> None:
    site = make_site("brokerless", surplus_kw=25, models=SMALL, hashing=8)
    site.configure(own_nats.port)
    site.daemon.start()
    sim = site.sim
    until(lambda: site.daemon.events("broker_connected"), 15, "the broker")
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
    until(lambda: (site.status()["figures"]["cap_kw"] or SEEN_KW) < 15, 10, "a cap below the load")
    always(lambda: site.sim.load_kw > 20, 3, "the load moved")
    assert site.sim.writes() == 0
    assert site.status()["mode"] == "observe"
    assert site.daemon.end() == 0
