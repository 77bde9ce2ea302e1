"""Somebody sets the machine's clock by an hour while the daemon runs: the load stays where it is, and so does the
meaning of what is in force. libfaketime steps the daemon's wall clock; its monotonic clock goes on."""

from __future__ import annotations

import itertools
import json
import time
from datetime import datetime
from pathlib import Path

from controller.domain.journalling import RowKind
from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import Dispatcher, stamp
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until
from tests.e2e.wall_clock import HOUR_S, WallClock
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}
SURPLUS_KW = 21.0
CAP_KW, PERSON_KW, LATER_KW = 15.0, 14.0, 11.0
LIFE_S = 20.0
STILL_S = 2.0


class Stepped:
    """A site, the clock of its daemon, and what a dispatcher heard."""

    def __init__(self, site: SmallSite, clock: WallClock, offset_s: float, dispatcher: Dispatcher) -> None:
        self.site, self.clock, self.offset_s, self.dispatcher = site, clock, offset_s, dispatcher
        self.stepped_at = 0.0
        self.expires_at = ""

    @property
    def tolerance_kw(self) -> float:
        return 0.01 * self.site.sim.rated_w / 1e3

    def wait_until_at(self, power_kw: float, within_s: float) -> None:
        low, high = power_kw - 4, power_kw + self.tolerance_kw
        until(lambda: low < self.site.sim.load_kw < high, within_s, f"{self.site.id}: load at {power_kw} kW")

    def stands_still(self) -> bool:
        powers_w = [row.site_load_w for row in self.site.sim.truth(time.monotonic() - STILL_S)]
        return max(powers_w) - min(powers_w) < self.tolerance_kw * 1e3

    def order_by_hand_and_by_dispatch(self) -> None:
        self.expires_at = stamp(LIFE_S)
        self.dispatcher.send(id="before", seq=1, kw=CAP_KW, expires_at=self.expires_at)
        self.site.ask("cap", power_w=int(PERSON_KW * 1e3), for_s=LIFE_S)
        until(lambda: "ACCEPTED" in self.dispatcher.statuses("before"), 5, "the order")

    def step(self) -> None:
        self.stepped_at = time.monotonic()
        self.clock.step(self.offset_s)

    def check_that_nothing_moved(self) -> None:
        truth = self.site.sim.truth(self.stepped_at)
        powers_kw = [row.site_load_w / 1e3 for row in truth]
        assert max(powers_kw) <= PERSON_KW + self.tolerance_kw, self.site.id
        assert max(powers_kw) - min(powers_kw) < 2 * self.tolerance_kw, f"{self.site.id}: the step moved the load"
        (event,) = self.site.daemon.events("clock_stepped")
        assert event["level"] == "warning"
        assert "3600" in event["text"]
        assert ("forward" if self.offset_s > 0 else "back") in event["text"]
        assert "EXPIRED" not in self.dispatcher.statuses("before")

    def order_by_either_clock(self) -> None:
        """One stamped by the clock of before, which is an hour off now, and one by the clock of now."""
        self.dispatcher.send(id="old-clock", seq=2, kw=3)
        times = {"issued_at": stamp(self.offset_s), "expires_at": stamp(self.offset_s + 60)}
        self.dispatcher.send(id="new-clock", seq=1, issuer="dispatcher-2", kw=LATER_KW, **times)
        until(lambda: "REACHED" in self.dispatcher.statuses("new-clock"), 20, f"{self.site.id}: a new order obeyed")
        assert self.dispatcher.statuses("old-clock") == ["RECEIVED", "REJECTED"]
        assert self.dispatcher.last("old-clock")["code"] == ("455" if self.offset_s > 0 else "454")
        assert self.site.sim.load_kw < LATER_KW + 2 * self.tolerance_kw

    def check_that_what_was_in_force_lasted_as_long_as_it_should(self) -> None:
        until(lambda: "EXPIRED" in self.dispatcher.statuses("before"), LIFE_S, f"{self.site.id}: the order's end")
        late_s = _utc_s(self.dispatcher.last("before")["at"]) - self.offset_s - _utc_s(self.expires_at)
        assert -0.1 < late_s < 2, f"{self.site.id}: ended {late_s:.1f} s after its time"
        times = {"issued_at": stamp(self.offset_s), "expires_at": stamp(self.offset_s + 60)}
        release = {"id": "end", "seq": 2, "issuer": "dispatcher-2", "kind": "release", "without": ("kw",)}
        self.dispatcher.send(**release, **times)

    def check_the_journal(self) -> None:
        """Every cycle is there, and the wall clock of its rows really was stepped."""
        rows = self.site.rows(RowKind.DECISION)
        bodies = [json.loads(row.body) for row in rows]
        assert all(b["cycle"] == a["cycle"] + 1 for a, b in itertools.pairwise(bodies)), "cycles are missing"
        assert all(b["now"] - a["now"] < 5 for a, b in itertools.pairwise(bodies)), "the cycle stood still"
        steps_s = [after.wall - before.wall for before, after in itertools.pairwise(rows)]
        (step_s,) = [step_s for step_s in steps_s if abs(step_s) > 60]
        assert abs(step_s - self.offset_s) < 2


def test_a_wall_clock_stepped_by_an_hour_moves_no_load_and_changes_the_meaning_of_no_order(
    make_site: MakeSite, nats: Broker, tmp_path: Path
) -> None:
    """An hour forward on one site, an hour back on another."""
    sites = []
    for name, offset_s in (("clock-forward", HOUR_S), ("clock-back", -HOUR_S)):
        site = make_site(name, surplus_kw=SURPLUS_KW, models=SMALL, hashing=8)
        site.configure(nats.port)
        (tmp_path / name).mkdir()
        clock = WallClock(tmp_path / name)
        site.daemon.environment = clock.environment
        sites.append(Stepped(site, clock, offset_s, Dispatcher(nats.port, site.id)))
        site.daemon.start(wait=False)
    with sites[0].dispatcher, sites[1].dispatcher:
        for one in sites:
            one.wait_until_at(SURPLUS_KW, 20)
        for one in sites:
            one.order_by_hand_and_by_dispatch()
        for one in sites:
            one.wait_until_at(PERSON_KW, 12)
        for one in sites:
            until(one.stands_still, 10, f"{one.site.id}: load that stands still")
        for one in sites:
            one.step()
        time.sleep(STILL_S)
        for one in sites:
            one.check_that_nothing_moved()
        for one in sites:
            one.order_by_either_clock()
        for one in sites:
            one.check_that_what_was_in_force_lasted_as_long_as_it_should()
        for one in sites:
            one.wait_until_at(SURPLUS_KW, 20)  # held by nobody
        for one in sites:
            assert one.site.daemon.end() == 0
            one.check_the_journal()


def _utc_s(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
