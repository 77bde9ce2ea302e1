"""A broker that is killed, swapped for an empty one, or silently gone: the site goes by its meters, and answers again.

What a silent link does to a site on a dispatcher's lease, and to an order that lay in the broker for an hour, is seen
here too.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import Dispatcher, heartbeats, stamp
from tests.e2e.small_site import SmallSite
from tests.e2e.valve import Valve
from tests.e2e.waiting import always, until
from tests.e2e.wall_clock import HOUR_S, WallClock
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}
NOTICED_WITHIN_S = 20.0  # two keepalives
FALLBACK_KW = 5.0
HEARTBEAT_LOST_S = 3.0


def tolerance_kw(site: SmallSite) -> float:
    return 0.01 * site.sim.rated_w / 1e3


def connections(site: SmallSite) -> int:
    return len(site.daemon.events("broker_connected"))


def test_a_broker_that_is_killed_and_comes_back_empty_finds_a_site_that_followed_its_surplus(
    make_site: MakeSite, own_nats: Broker, tmp_path: Path
) -> None:
    site = make_site("brokerless", surplus_kw=25, models=SMALL, hashing=8)
    site.configure(own_nats.port)
    site.daemon.start()
    sim = site.sim
    until(lambda: connections(site), 15, "the broker")
    own_nats.stop(signal.SIGKILL)
    until(lambda: site.daemon.events("broker_lost"), 10, "the loss in the log")
    sim.surplus.power_w = 12e3
    until(lambda: 8 < sim.load_kw < 12 + tolerance_kw(site), 12, "load after the surplus without a broker")
    (tmp_path / "empty").mkdir()
    swapped = Broker("nats", tmp_path / "empty")
    swapped.port = own_nats.port
    with swapped, Dispatcher(swapped.port, site.id) as dispatcher:
        until(lambda: connections(site) == 2, 20, "the broker back")
        until(lambda: dispatcher.states, 5, "the state, published anew")
        assert dispatcher.states[-1]["online"] is True
        dispatcher.send(id="later", seq=1, kw=9)
        until(lambda: "REACHED" in dispatcher.statuses("later"), 15, "an order obeyed")
        assert dispatcher.statuses("later") == ["RECEIVED", "ACCEPTED", "REACHED"]
        assert sim.load_kw < 9 + 2 * tolerance_kw(site)
        with Dispatcher(swapped.port, site.id) as late:
            until(lambda: late.states, 2, "a state that was retained by the new broker")
        assert site.daemon.end() == 0


def test_a_silent_link_is_noticed_and_after_an_hour_what_lay_in_the_broker_is_refused_and_new_orders_are_obeyed(
    make_site: MakeSite, own_nats: Broker, tmp_path: Path
) -> None:
    """A site on its surplus and one on a dispatcher's lease, each behind a valve that is shut without a word."""
    clock = WallClock(tmp_path)
    with Valve(own_nats.port) as valve:
        free = make_site("half-open", surplus_kw=21, models=SMALL, hashing=8)
        leased = make_site("half-open-leased", surplus_kw=21, models=SMALL, hashing=8)
        free.configure(valve.port, ramp={"fallback": "1000 %/min"})
        lease = {"lease": "required", "heartbeat_lost_after": f"{HEARTBEAT_LOST_S:g} s"}
        leased.configure(valve.port, dispatch=lease, ramp={"fallback": "1000 %/min"})
        free.daemon.environment = clock.environment
        with (
            heartbeats(leased.id, own_nats.port),
            Dispatcher(own_nats.port, free.id) as to_free,
            Dispatcher(own_nats.port, leased.id) as to_leased,
        ):
            for site in (free, leased):
                site.daemon.start(wait=False)
            until(lambda: connections(free) and connections(leased), 20, "the broker")
            to_leased.send(id="lease", seq=1, kw=22, expires_at=stamp(600))
            until(lambda: leased.status()["fail_safe"] == "good", 10, "the lease held")
            until(lambda: 15 < free.sim.load_kw < 21 and leased.sim.load_kw > 8, 20, "load")

            valve.shut()
            shut_at = time.monotonic()
            free.sim.surplus.power_w = 14e3
            until(lambda: leased.sim.load_kw < FALLBACK_KW + tolerance_kw(leased), 20, "fallback without heartbeats")
            assert time.monotonic() - shut_at > HEARTBEAT_LOST_S - 1
            until(lambda: free.sim.load_kw < 14 + tolerance_kw(free), 10, "load after the surplus without a link")
            left_s = NOTICED_WITHIN_S - (time.monotonic() - shut_at)
            until(lambda: all(site.daemon.events("broker_lost") for site in (free, leased)), left_s, "loss noticed")
            until(lambda: to_free.states[-1]["online"] is False, NOTICED_WITHIN_S, "the last will")
            assert to_free.states[-1]["reason"] == "lost"

            to_free.send(id="old", seq=1, kw=3, expires_at=stamp(2 * HOUR_S))
            clock.step(HOUR_S)
            valve.open()
            until(lambda: "REJECTED" in to_free.statuses("old"), 15, "an answer to the old order")
            assert to_free.last("old")["code"] == "455"
            assert "ago" in to_free.last("old")["reason"]
            always(lambda: free.sim.load_kw > 8, 1, "an order of an hour ago was obeyed")
            assert to_free.states[-1]["online"] is True
            assert to_free.states[-1]["at"] > stamp(HOUR_S - 30)
            to_free.send(id="new", seq=2, kw=11, issued_at=stamp(HOUR_S), expires_at=stamp(HOUR_S + 60))
            to_leased.send(id="again", seq=2, kw=22, expires_at=stamp(600))
            until(lambda: "REACHED" in to_free.statuses("new"), 10, "a new order obeyed")
            assert free.sim.load_kw < 11 + 2 * tolerance_kw(free)
            until(lambda: leased.sim.load_kw > 8, 20, "the lease back")
