"""Observe mode: the daemon beside whoever controls the fleet today."""

from __future__ import annotations

from tests.e2e.conftest import MakeSite
from tests.e2e.waiting import always, until

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}


def test_in_observe_mode_everything_is_decided_and_nothing_is_commanded(make_site: MakeSite) -> None:
    site = make_site("observing", surplus_kw=15, models=SMALL, hashing=8)
    site.configure(control={"mode": "observe"})
    site.daemon.start()
    until(lambda: (site.status()["figures"]["cap_kw"] or 99.0) < 15, 10, "a cap below the load")
    always(lambda: site.sim.load_kw > 20, 2, "the load moved")
    assert site.sim.writes() == 0
    assert site.status()["mode"] == "observe"
    assert site.daemon.end() == 0
