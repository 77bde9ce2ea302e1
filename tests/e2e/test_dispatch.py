"""Orders through a real broker: what the dispatcher is told, and what the site then really draws.

The contract is tested on NATS and on mosquitto; what no broker has a part in, on NATS alone.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from controller.domain.journalling import RowKind
from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import Dispatcher, stamp
from tests.e2e.processes import Ran, curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until
from tests.runtime.conftest import Broker

SURPLUS_KW = 53.0  # a little more than the whole fleet takes
_NUMBERS = itertools.count(2)
on_nats = pytest.mark.parametrize("broker", ["nats"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def site(make_site_on_broker: MakeSite, broker: Broker) -> SmallSite:
    """One running site for all tests on a broker; each leaves it without orders."""
    made = make_site_on_broker("dispatched", surplus_kw=SURPLUS_KW)
    made.configure(broker.port, ramp={"down": "200 %/min", "down_15s": "50 %"})
    return made


@pytest.fixture(scope="module")
def listening(site: SmallSite, broker: Broker) -> Iterator[Dispatcher]:
    """Connected before the daemon starts, with an order left lying on the broker."""
    with Dispatcher(broker.port, site.id) as connected:
        connected.send(id="left-lying", seq=1, issuer="mallory", kw=5, retain=True)
        site.daemon.start()
        yield connected


@pytest.fixture
def dispatcher(site: SmallSite, listening: Dispatcher) -> Dispatcher:
    """A dispatcher that hears everything; the site follows its surplus when the test begins."""
    until(lambda: SURPLUS_KW - 6 < site.sim.load_kw < SURPLUS_KW, 30, "load near the surplus")
    return listening


def order(broker: Broker, site: SmallSite, *arguments: str) -> Ran:
    """`curtaild dispatch` as a person types it, answers as JSON lines."""
    where = ("--site", site.id, "--broker", f"127.0.0.1:{broker.port}", "--issuer", "desk")
    return curtaild("dispatch", *where, "--json", "--within", "20s", *arguments)


def statuses(ran: Ran) -> list[str]:
    return [line["status"] for line in ran.lines()]


def test_a_cap_is_received_accepted_and_reached_and_the_true_power_obeys_until_it_is_released(
    dispatcher: Dispatcher, site: SmallSite, broker: Broker
) -> None:
    capped = order(broker, site, "cap", "42kW", "--for", "2m")
    assert capped.code == 0, capped.errors
    assert statuses(capped) == ["RECEIVED", "ACCEPTED", "REACHED"]
    always(lambda: site.sim.load_kw < 42 + 0.02 * site.sim.rated_w / 1e3, 1.5, "the cap was left")
    status = site.status()
    assert status["setpoint"]["bound"] == "dispatch_cap"
    assert [active["kw"] for active in status["orders"]] == [42.0]
    released = order(broker, site, "release")
    assert statuses(released) == ["RECEIVED", "ACCEPTED", "REACHED"]
    first = capped.lines()[0]["id"]
    until(lambda: dispatcher.statuses(first)[-1] == "SUPERSEDED", 5, "the end of the cap")
    until(lambda: site.sim.load_kw > 45, 20, "load up again after the release")


def test_a_target_is_drawn_and_ends_by_itself(dispatcher: Dispatcher, site: SmallSite, broker: Broker) -> None:
    ran = order(broker, site, "target", "45kW", "--for", "7s", "--wait", "end")
    assert ran.code == 0, ran.errors
    assert statuses(ran) == ["RECEIVED", "ACCEPTED", "REACHED", "EXPIRED"]
    assert abs(ran.lines()[2]["kw"] - 45) <= 0.02 * site.sim.rated_w / 1e3
    assert ran.lines()[-1]["terminal"] is True


def test_a_cap_for_later_waits_in_sight_and_is_there_when_it_begins(
    dispatcher: Dispatcher, site: SmallSite, broker: Broker
) -> None:
    # The site's ramp needs 7 s for the way down; the rest is for a starved machine to have the order there in time.
    ahead_s = 20.0
    begins = time.time() + ahead_s
    ran = order(broker, site, "cap", "42kW", "--at", stamp(ahead_s), "--for", "12s", "--wait", "accepted")
    assert statuses(ran) == ["RECEIVED", "ACCEPTED"]
    name = ran.lines()[0]["id"]
    status = site.status()
    assert status["orders"] == []
    assert [entry["id"] for entry in status["scheduled"]] == [name]
    assert 0 < status["scheduled"][0]["starts_in_s"] < ahead_s
    until(lambda: dispatcher.statuses(name)[-1] == "REACHED", ahead_s + 11, "the order's start")
    reached = datetime.fromisoformat(dispatcher.last(name)["at"]).timestamp()
    assert begins - 0.5 <= reached
    assert site.sim.load_kw < 42 + 0.02 * site.sim.rated_w / 1e3
    # To the second only what the daemon decides by itself: a starved machine makes the simulated miners late.
    decided = [row for row in site.rows(RowKind.DECISION) if row.wall >= begins]
    assert json.loads(decided[0].body)["setpoint"][0] <= 42e3
    until(lambda: dispatcher.statuses(name)[-1] == "EXPIRED", 16, "the end of it")


def test_a_test_order_is_judged_and_moves_nothing(dispatcher: Dispatcher, site: SmallSite, broker: Broker) -> None:
    ran = order(broker, site, "cap", "5kW", "--class", "test")
    assert (ran.code, statuses(ran)) == (0, ["RECEIVED", "ACCEPTED"])
    always(lambda: site.sim.load_kw > SURPLUS_KW - 7, 1.5, "a test order moved the load")


def test_an_order_the_broker_kept_from_before_the_start_is_rejected(dispatcher: Dispatcher, site: SmallSite) -> None:
    until(lambda: "REJECTED" in dispatcher.statuses("left-lying"), 5, "a refusal")
    # A link that broke meanwhile brings the broker's copy again, and is told that the first answer stands.
    told = [answer for answer in dispatcher.answers if answer["id"] == "left-lying"]
    refused = next(answer for answer in told if answer["status"] == "REJECTED")
    assert refused["code"] == "451"
    assert "retain" in refused["reason"]
    assert site.status()["orders"] == []


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"kw": 5000}, "454", "outside"),
        ({"kw": -1}, "454", "kw"),
        ({"kw": "10"}, "454", "kw"),
        ({"kind": "delta"}, "460", "delta"),
        ({"class": "panic"}, "460", "panic"),
        ({"issued_at": -600, "expires_at": 600}, "455", "issued"),
        ({"issued_at": -20, "expires_at": -1}, "455", "expires_at"),
        ({"issued_at": 600, "expires_at": 900}, "454", "future"),
        ({"expires_at": 40 * 86400}, "454", "longer"),
        ({"not_before": 90, "expires_at": 80}, "454", "not after not_before"),
        ({"not_before": 30, "class": "emergency"}, "454", "never scheduled"),
        ({"surprise": 1}, "454", "surprise"),
    ],
    ids=lambda value: "-".join(f"{k}-{v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_what_is_no_good_order_is_rejected_with_a_reason_and_moves_nothing(
    dispatcher: Dispatcher, site: SmallSite, fields: dict[str, object], code: str, words: str
) -> None:
    """Times in `fields` are seconds from now."""
    times = ("issued_at", "not_before", "expires_at")
    fields = {key: stamp(float(str(value))) if key in times else value for key, value in fields.items()}
    number = next(_NUMBERS)
    dispatcher.send(id=f"bad-{number}", seq=number, issuer="mallory", **fields)
    until(lambda: "REJECTED" in dispatcher.statuses(f"bad-{number}"), 5, "a refusal")
    answer = dispatcher.last(f"bad-{number}")
    assert (answer["code"], answer["terminal"]) == (code, True)
    assert words in answer["reason"]
    assert site.sim.load_kw > SURPLUS_KW - 7
    assert site.status()["orders"] == []


def test_bytes_that_are_no_order_are_rejected_and_the_next_good_order_is_obeyed(
    dispatcher: Dispatcher, site: SmallSite
) -> None:
    heard = len(dispatcher.answers)
    for payload in (b"", b"\xff\xfe", b"[]", b"{", b'{"kw": 10}', b"x" * 100_000):
        dispatcher.send_raw(payload)
    until(lambda: len(dispatcher.answers) >= heard + 6, 5, "six refusals")
    assert {answer["status"] for answer in dispatcher.answers[heard:]} == {"REJECTED"}
    dispatcher.send(id="good", seq=1, issuer="good", kw=50)
    until(lambda: "ACCEPTED" in dispatcher.statuses("good"), 5, "the good order")
    dispatcher.send(id="good-end", seq=2, issuer="good", kind="release", without=("kw",))
    until(lambda: "REACHED" in dispatcher.statuses("good-end"), 5, "its end")


def test_a_duplicate_and_an_order_out_of_sequence_change_nothing(dispatcher: Dispatcher, site: SmallSite) -> None:
    dispatcher.send(id="s-5", seq=5, issuer="sequenced", kw=50)
    until(lambda: "ACCEPTED" in dispatcher.statuses("s-5"), 5, "the order")
    dispatcher.send(id="s-5", seq=5, issuer="sequenced", kw=2)
    until(lambda: "REJECTED" in dispatcher.statuses("s-5"), 5, "the refusal of the duplicate")
    assert dispatcher.last("s-5")["code"] == "452"
    assert dispatcher.last("s-5")["terminal"] is False, "the order itself is still in force"
    dispatcher.send(id="s-4", seq=4, issuer="sequenced", kw=2)
    until(lambda: "REJECTED" in dispatcher.statuses("s-4"), 5, "the refusal of the older one")
    assert dispatcher.last("s-4")["code"] == "450"
    assert [active["kw"] for active in site.status()["orders"]] == [50.0]
    dispatcher.send(id="s-6", seq=6, issuer="sequenced", kind="release", without=("kw",))
    until(lambda: "REACHED" in dispatcher.statuses("s-6"), 5, "the release")


@on_nats
def test_orders_nobody_can_send_are_refused_before_they_leave(site: SmallSite, broker: Broker) -> None:
    unitless = order(broker, site, "cap", "400")
    assert (unitless.code, "unit" in unitless.errors) == (2, True)
    powerless = order(broker, site, "cap")
    assert (powerless.code, "needs a power" in powerless.errors) == (2, True)
    address = f"127.0.0.1:{broker.port}"
    nobody = curtaild("dispatch", "--site", "elsewhere", "--broker", address, "--within", "1s", "release")
    assert (nobody.code, "no daemon" in nobody.out) == (4, True)
    silent = curtaild("dispatch", "--site", site.id, "--broker", "127.0.0.1:1", "--within", "2s", "release")
    assert silent.code == 4


@on_nats
def test_an_emergency_sheds_at_once_below_what_any_ramp_allows_and_a_cap_below_the_floor_is_clamped(
    dispatcher: Dispatcher, site: SmallSite, broker: Broker
) -> None:
    ramped_s = (SURPLUS_KW - 4) / (2 * site.sim.rated_w / 1e3) * 60
    assert ramped_s > 20
    dispatcher.send(id="emergency", seq=1, issuer="grid", kw=2, **{"class": "emergency"})
    until(lambda: site.sim.load_kw < 4, 10, "the shed")
    until(lambda: "REACHED" in dispatcher.statuses("emergency"), 5, "REACHED")
    assert len(site.sim.asleep()) == len(site.sim.ids)
    ran = order(broker, site, "cap", "0.5kW")
    assert ran.code == 0
    assert statuses(ran) == ["RECEIVED", "CLAMPED", "REACHED"]
    assert 1.0 < ran.lines()[1]["kw"] < 3.0
    order(broker, site, "release")
    dispatcher.send(id="all-clear", seq=2, issuer="grid", kind="release", without=("kw",))
    until(lambda: site.sim.load_kw > 8, 30, "load up again")
