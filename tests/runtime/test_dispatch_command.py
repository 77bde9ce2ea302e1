"""`curtaild dispatch` against a site that answers as scripted, over real brokers."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.commands.dispatch import (
    EXIT_DONE,
    EXIT_ENDED_EARLY,
    EXIT_NO_ANSWER,
    EXIT_REFUSED,
    Wait,
    default_issuer,
    dispatch_from_arguments,
    exit_code_of,
    make_order,
    new_id,
    run_dispatch,
    send_and_show,
)
from controller.commands.start_time import parse_start
from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, DispatchClass, DispatchKind, Received, RejectCode
from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.mqtt_link import BrokerSettings
from controller.wire.mqtt import ISSUER_PATTERN, decode_dispatch, encode_dispatch

S = AnswerStatus


def an_order(
    kind: DispatchKind = DispatchKind.CAP,
    dispatch_class: DispatchClass = DispatchClass.NORMAL,
    wall: float | None = None,
) -> Dispatch:
    return make_order(
        kind,
        None if kind is DispatchKind.RELEASE else 400_000,
        lifetime_s=900.0,
        issuer="desk-1",
        dispatch_class=dispatch_class,
        priority=0,
        reason="",
        wall=time.time() if wall is None else wall,
    )


@asynccontextmanager
async def site_that_answers(
    settings: BrokerSettings, site: str, *stages: Answer, on_received: Callable[[Received], None] | None = None
) -> AsyncIterator[MqttInbox]:
    """A daemon's mailbox that answers every order with these stages, whatever they are."""

    def answer(received: Received) -> None:
        inbox.answer(stages)

    inbox = MqttInbox(
        settings, site, on_received=on_received or answer, on_link=lambda up, text: None, limits=InboxLimits()
    )
    inbox.publish_state(b'{"online":true}')
    task = asyncio.create_task(inbox.run())
    try:
        async with asyncio.timeout(20):
            while not inbox.connected:  # noqa: ASYNC110  # the inbox has no event for it; nobody but a test waits
                await asyncio.sleep(0.005)
        yield inbox
    finally:
        inbox.stop()
        await asyncio.wait_for(task, 10)


def stage(order: Dispatch, status: AnswerStatus, **more: Any) -> Answer:
    return Answer(order.dispatch_id, order.issuer, status, time.time(), more.pop("terminal", False), **more)


async def test_a_cap_is_shown_stage_by_stage_until_it_is_reached(broker: Any, site: str) -> None:
    order, out = an_order(), io.StringIO()
    stages = (
        stage(order, S.RECEIVED),
        stage(order, S.CLAMPED, power_w=425_500, reason="floor"),
        stage(order, S.REACHED, power_w=424_000),
    )
    async with site_that_answers(broker.settings, site, *stages):
        code = await send_and_show(broker.settings, site, order, wait=Wait.REACHED, within_s=20, as_json=False, out=out)
    assert code == EXIT_DONE
    first, *lines = out.getvalue().splitlines()
    assert first.startswith(order.dispatch_id) and "cap 400 kW until" in first
    assert [line.split()[2] for line in lines] == ["RECEIVED", "CLAMPED", "REACHED"]
    assert "425.5 kW" in lines[1] and "floor" in lines[1]


async def test_a_refusal_is_shown_with_its_code_as_json(broker: Any, site: str) -> None:
    order, out = an_order(), io.StringIO()
    refusal = stage(order, S.REJECTED, terminal=True, code=RejectCode.OUT_OF_SEQUENCE, reason="seq 1 is not above 2")
    async with site_that_answers(broker.settings, site, stage(order, S.RECEIVED), refusal):
        code = await send_and_show(broker.settings, site, order, wait=Wait.REACHED, within_s=20, as_json=True, out=out)
    assert code == EXIT_REFUSED
    received, rejected = (json.loads(line) for line in out.getvalue().splitlines())
    assert received["status"] == "RECEIVED"
    assert (rejected["code"], rejected["reason"], rejected["terminal"]) == ("450", "seq 1 is not above 2", True)
    assert 0 <= rejected["elapsed_s"] < 20


async def test_silence_is_explained_by_what_the_broker_knows_of_the_site(broker: Any, site: str) -> None:
    async def is_told(explained: str, order: Dispatch | None = None) -> None:
        asked, said = order or an_order(), ""
        for within_s in (0.3, 1.0, 5.0):  # a starved machine brings what the broker knows late
            out = io.StringIO()
            code = await send_and_show(
                broker.settings, site, asked, wait=Wait.ACCEPTED, within_s=within_s, as_json=False, out=out
            )
            assert code == EXIT_NO_ANSWER
            said = out.getvalue()
            if explained in said:
                return
        raise AssertionError(f"{explained!r} is not said: {said}")

    await is_told("no daemon has ever spoken for site")
    async with site_that_answers(broker.settings, site):
        await is_told("access rules may not let you order")
    order = an_order()
    async with site_that_answers(broker.settings, site, stage(order, S.RECEIVED)):
        await is_told("the site has the order", order)
    await is_told("is not running")


def test_a_broker_that_is_not_there_is_named() -> None:
    out = io.StringIO()
    nowhere = BrokerSettings("127.0.0.1", 1, None, None, None)
    code = run_dispatch(nowhere, "s", an_order(), wait=Wait.REACHED, within_s=10, as_json=False, out=out)
    assert code == EXIT_NO_ANSWER
    assert "127.0.0.1:1" in out.getvalue()


@pytest.mark.parametrize(
    ("status", "terminal", "wait", "kind", "dispatch_class", "code"),
    [
        (S.RECEIVED, False, Wait.ACCEPTED, "cap", "normal", None),
        (S.ACCEPTED, False, Wait.ACCEPTED, "cap", "normal", EXIT_DONE),
        (S.ACCEPTED, False, Wait.REACHED, "cap", "normal", None),
        (S.ACCEPTED, False, Wait.REACHED, "release", "normal", None),
        (S.REACHED, True, Wait.END, "release", "normal", EXIT_DONE),
        (S.CLAMPED, True, Wait.REACHED, "cap", "test", EXIT_DONE),
        (S.REACHED, False, Wait.REACHED, "cap", "normal", EXIT_DONE),
        (S.REACHED, False, Wait.END, "cap", "normal", None),
        (S.EXPIRED, True, Wait.END, "cap", "normal", EXIT_DONE),
        (S.EXPIRED, True, Wait.REACHED, "cap", "normal", EXIT_ENDED_EARLY),
        (S.SUPERSEDED, True, Wait.REACHED, "target", "normal", EXIT_ENDED_EARLY),
        (S.REJECTED, True, Wait.ACCEPTED, "cap", "normal", EXIT_REFUSED),
        (S.REJECTED, False, Wait.END, "cap", "normal", EXIT_REFUSED),
    ],
)
def test_which_answer_settles_the_matter(
    status: AnswerStatus, terminal: bool, wait: Wait, kind: str, dispatch_class: str, code: int | None
) -> None:
    order = an_order(DispatchKind(kind), DispatchClass(dispatch_class))
    assert exit_code_of(stage(order, status, terminal=terminal), order, wait) == code


def test_an_order_made_here_is_one_the_site_can_read() -> None:
    for kind in DispatchKind:
        order = an_order(kind, wall=1795320900.1234567)
        assert decode_dispatch(encode_dispatch(order)) == order
    assert order.seq == 1795320900123
    assert order.expires_at - order.issued_at == pytest.approx(900)


def test_ids_are_ulids_that_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_id(1795320900 + second) for second in range(100)]
    assert sorted(ids) == ids
    assert len({new_id(1.0) for _ in range(1000)}) == 1000
    assert all(len(one) == 26 and one[0] in "01234567" for one in ids)


def test_the_default_issuer_is_one_the_contract_allows() -> None:
    assert ISSUER_PATTERN.fullmatch(default_issuer())


HERE = "PKT-5"  # five hours ahead of UTC, all year
NOON = 1795330800.0  # 2026-11-22T07:00:00Z, noon here


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts this machine into a time zone."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    move(HERE)
    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "in_s"),
    [
        ("12:05", 300),
        ("18:05", 21_900),
        ("12:05:30", 330),
        ("07:05Z", 300),
        ("07:05:30Z", 330),
        ("23:59", 43_140),
        ("2026-11-22T07:05:00Z", 300),
        ("2026-11-22T09:05:00+02:00", 7_500 - 7_200),
        ("2026-11-22T12:05", 300),
        ("2026-11-23T12:05", 86_700),
    ],
)
def test_a_time_of_day_is_local_unless_it_says_otherwise(here: object, text: str, in_s: float) -> None:
    assert parse_start(text, NOON) == NOON + in_s


def test_a_time_of_day_is_tomorrows_when_that_is_near(here: Callable[[str], None]) -> None:
    assert parse_start("00:05", NOON + 43_080.0) == NOON + 43_500.0
    here("CET-1CEST,M3.5.0,M10.5.0/3")
    before_summer = 1774738500.0  # 2026-03-28T23:55 here; the night that follows has 23 hours
    assert parse_start("06:00", before_summer) == before_summer + 300.0 + 5 * 3_600.0


@pytest.mark.parametrize(
    ("text", "says"), [("11:59", "twelve hours"), ("06:59Z", "twelve hours"), ("00:01", "twelve hours")]
)
def test_a_time_of_day_that_has_passed_is_not_taken_for_tomorrows(here: object, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_start(text, NOON)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-22T11:55", "passed 0:05:00 ago: write a time to come"),
        ("2026-11-20T11:55", "passed 2 days, 0:05:00 ago"),
        ("2026-11-22T07:00Z", "passed 0:00:00 ago"),
        ("2026-11-24", "a date without a time: write 2026-11-24T18:05"),
        ("2026-11-20", "a date without a time"),
    ],
)
def test_a_moment_that_has_passed_and_a_date_without_a_time_are_refused(here: object, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_start(text, NOON)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "12", "12:05 PM", "12:05+05:00", "2026-13-01T00:00Z"])
def test_what_is_no_time_is_refused_with_examples(here: object, text: str) -> None:
    with pytest.raises(ValueError, match="is no time: write 18:05"):
        parse_start(text, NOON)


@pytest.mark.usefixtures("here")
async def test_an_order_for_later_says_when_in_utc_and_here_and_lives_from_then_on(broker: Any, site: str) -> None:
    out = io.StringIO()
    host, begins = broker.settings.host, datetime.fromtimestamp(time.time() + 5_400.0, UTC)
    given = {
        "kind": "cap", "power": "400kW", "lifetime": "10m", "begins": begins.isoformat(), "issuer": "desk-1",
        "dispatch_class": "normal", "priority": 0, "reason": "", "within": "20s", "wait": "accepted", "as_json": False,
        "broker": f"{host}:{broker.settings.port}", "site": site, "username": broker.settings.username,
        "password_secret": None, "tls_ca": None, "tls_certificate": None, "tls_key": None,
    }  # fmt: skip
    seen: list[Dispatch] = []

    def note(received: Received) -> None:
        assert isinstance(received.message, Dispatch)
        seen.append(received.message)
        inbox.answer((stage(received.message, S.ACCEPTED, power_w=400_000),))

    async with site_that_answers(broker.settings, site, on_received=note) as inbox:
        code = await asyncio.to_thread(dispatch_from_arguments, given, {}, out)
    assert code == EXIT_DONE
    order = seen[0]
    assert order.not_before == pytest.approx(begins.timestamp(), abs=0.01)
    assert order.expires_at - order.not_before == pytest.approx(600.0, abs=0.01)
    there = begins + timedelta(hours=5)
    assert f"cap 400 kW at {begins:%Y-%m-%dT%H:%M}" in out.getvalue()
    assert f"({there:%H:%M:%S} here)" in out.getvalue()
