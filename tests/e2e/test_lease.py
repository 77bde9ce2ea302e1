"""A site on a dispatcher's lease: it waits in its fallback, leaves it on a fresh order, and goes back without it."""

from __future__ import annotations

from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import heartbeats
from tests.e2e.processes import curtaild
from tests.e2e.waiting import always, until
from tests.runtime.conftest import Broker

FALLBACK_KW = 5.0


def test_a_lease_is_needed_to_leave_the_fallback_and_to_stay_out_of_it(make_site: MakeSite, nats: Broker) -> None:
    site = make_site("leased", surplus_kw=40, hashing=12)
    site.configure(
        nats.port,
        dispatch={"lease": "required", "heartbeat_lost_after": "3 s"},
        ramp={"fallback": "1000 %/min"},
    )
    site.daemon.start()

    def trust() -> str:
        return str(site.status()["fail_safe"])

    def condition() -> str:
        return next(str(entry["condition"]) for entry in site.status()["inputs"] if entry["name"] == "dispatcher")

    until(lambda: trust() == "fallback", 5, "fail-safe from the start")
    until(lambda: site.sim.load_kw < FALLBACK_KW + 1, 20, "load down to the fallback")
    with heartbeats(site.id, nats.port):
        until(lambda: condition() == "heartbeat, no fresh order", 10, "heartbeats heard")
        always(lambda: trust() == "fallback", 1.5, "a heartbeat alone ended the fail-safe")
        where = ("--site", site.id, "--broker", f"127.0.0.1:{nats.port}")
        ordered = curtaild("dispatch", *where, "cap", "30kW", "--for", "2m", "--wait", "accepted")
        assert ordered.code == 0, ordered.out
        until(lambda: trust() == "good", 10, "out of the fail-safe")
        until(lambda: 25 < site.sim.load_kw < 31, 30, "load up to the order")
    until(lambda: trust() == "fallback", 10, "back without heartbeats")
    until(lambda: site.sim.load_kw < 25, 10, "load on its way down again")


def test_heartbeats_without_a_broker_end_with_a_code() -> None:
    nowhere = curtaild("heartbeat", "--site", "s", "--broker", "127.0.0.1:1", "--for", "5s")
    assert (nowhere.code, "broker:" in nowhere.out) == (4, True)
    assert curtaild("heartbeat", "--site", "s", "--every", "soon").code == 2
