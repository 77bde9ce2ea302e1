"""`curtaild preview` beside what then really happens when the very same order is given."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import MakeSite
from tests.e2e.processes import Ran, curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until
from tests.runtime.conftest import Broker

SURPLUS_KW = 53.0  # a little more than the whole fleet takes
CAP_KW = 28.0
REACHED_WITHIN_S = 5.0
EARLY_S = 1.5
TOLERANCE_KW = 2.5  # 5 % of rated; the least of these miners draws 2.5 kW


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite, nats: Broker) -> SmallSite:
    """A site that follows its surplus, its ramps slow enough to be seen in the prediction."""
    made = make_module_site("foreseen", surplus_kw=SURPLUS_KW)
    rules = {"control": {"cycle": "0.5 s"}, "failsafe": {"hold_after": "2 s"}}
    made.configure(nats.port, **rules, ramp={"down": "400 %/min", "down_15s": "100 %"})
    made.daemon.start()
    until(lambda: made.status()["miners"]["hashing"] == 16, 20, "everybody read")
    until(lambda: SURPLUS_KW - 6 < made.sim.load_kw < SURPLUS_KW and made.sim.stands_still(), 40, "a load that stands")
    return made


def preview(site: SmallSite, *arguments: str) -> Ran:
    return site.cli("preview", *arguments)


def test_a_preview_moves_nothing_and_what_it_says_then_happens(site: SmallSite, nats: Broker) -> None:
    sim, written, before_kw = site.sim, site.sim.writes(), site.sim.load_kw
    ran = preview(site, "cap", f"{CAP_KW}kW", "--json")
    assert ran.code == 0, ran.errors
    foreseen = ran.json()
    assert site.sim.writes() == written
    assert abs(sim.load_kw - before_kw) < 0.3
    assert site.status()["orders"] == []

    where = ("--site", site.id, "--broker", f"127.0.0.1:{nats.port}", "--issuer", "desk", "--wait", "accepted")
    given_at = time.monotonic()
    assert curtaild("dispatch", *where, "cap", f"{CAP_KW}kW", "--for", "2m").code == 0
    accepted_at = time.monotonic()
    until(lambda: sim.load_kw < CAP_KW, 30, "the cap kept")
    reached_at = time.monotonic()
    until(lambda: time.monotonic() > given_at + 12.0, 15, "twelve seconds")
    truth = sim.truth(given_at)
    for mark in foreseen["power"][:3]:
        # Somewhere between sent and accepted the order began to count, and these miners are quicker than their class.
        begin, end = (moment + mark["after_s"] for moment in (given_at, accepted_at))
        seen = [row.site_load_w / 1e3 for row in truth if begin - EARLY_S <= row.at_s <= end + EARLY_S]
        assert min(seen) - TOLERANCE_KW <= mark["kw"] <= max(seen) + TOLERANCE_KW, (mark, min(seen), max(seen))
    after_s = foreseen["reached_after_s"]
    assert reached_at - accepted_at - REACHED_WITHIN_S < after_s < reached_at - given_at + REACHED_WITHIN_S
    assert foreseen["sleeps"]
    assert foreseen["trims"]
    asleep = set(sim.asleep())
    freed = preview(site, "release", "--issuer", "desk", "--json").json()
    assert freed["answer"]["status"] == "ACCEPTED"
    assert freed["power"][-1]["kw"] > CAP_KW + 10
    assert {move["miner"] for move in freed["wakes"]} >= asleep


def test_what_cannot_be_kept_or_would_be_refused_is_said_before_it_is_ordered(site: SmallSite) -> None:
    low = preview(site, "cap", "0kW")
    assert low.code == 0
    assert "would be CLAMPED" in low.out
    assert "Nothing was moved." in low.out
    for words, code in ((("target", "900MW"), 3), (("cap",), 2), (("cap", "5kW", "--for", "4000h"), 3)):
        assert preview(site, *words).code == code, words
