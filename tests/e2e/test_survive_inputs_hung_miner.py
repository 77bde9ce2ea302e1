"""A dispatch while a miner accepts connections and never answers: the others make up for it, and it is named."""

from __future__ import annotations

import time

from simulators.faults import Fault
from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import Dispatcher
from tests.e2e.waiting import until
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}
ANSWERED_WITHIN_S = 1.0


def test_orders_are_answered_within_a_second_and_reached_by_the_other_miners_while_one_hangs(
    make_site: MakeSite, nats: Broker
) -> None:
    site = make_site("hung", surplus_kw=40, models=SMALL, hashing=8)
    site.configure(nats.port)
    site.daemon.start()
    sim, tolerance_kw = site.sim, 0.01 * site.sim.rated_w / 1e3
    hung = 0  # the last to be put to sleep by merit, so that nobody would have missed it
    with Dispatcher(nats.port, site.id) as dispatcher:
        until(lambda: site.status()["miners"].get("hashing") == 8 and dispatcher.states, 15, "every miner read")
        sim.farm.faults[hung].on(Fault.HANG)
        for number, (dispatch_class, cap_kw, within_s) in enumerate((("normal", 14, 15), ("emergency", 7, 10)), 1):
            name = f"{dispatch_class}-order"
            sent_at = time.monotonic()
            dispatcher.send(id=name, seq=number, kw=cap_kw, **{"class": dispatch_class})
            until(lambda: "ACCEPTED" in dispatcher.statuses(name), 5, f"{name}: an answer")  # noqa: B023
            assert time.monotonic() - sent_at < ANSWERED_WITHIN_S
            until(lambda: "REACHED" in dispatcher.statuses(name), within_s, f"{name}: reached")  # noqa: B023
            until(lambda: sim.load_kw < cap_kw + tolerance_kw, 3, f"{name}: true power at the cap")  # noqa: B023
    assert not sim.farm.bank.is_asleep[hung], "it hung, and still obeyed"
    assert {event["miner"] for event in site.daemon.events("miner_unreachable")} == {sim.ids[hung]}
    assert site.ask("explain", miner=sim.ids[hung])["why"] == "unreachable"
