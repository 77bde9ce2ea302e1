"""`curtaild dispatch` against a site that answers as scripted, over real brokers."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.commands.dispatch import (
    EXIT_DONE,
    EXIT_ENDED_EARLY,
    EXIT_NO_ANSWER,
    EXIT_REFUSED,
    Wait,
    default_issuer,
    exit_code_of,
    make_order,
    new_id,
    parse_duration,
    parse_power,
    run_dispatch,
    send_and_show,
)
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
async def site_that_answers(settings: BrokerSettings, site: str, *stages: Answer) -> AsyncIterator[MqttInbox]:
    """A daemon's mailbox that answers every order with these stages, whatever they are."""

    def answer(received: Received) -> None:
        inbox.answer(stages)

    inbox = MqttInbox(settings, site, on_received=answer, on_link=lambda up, text: None, limits=InboxLimits())
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
    async def say_to(name: str, order: Dispatch | None = None) -> str:
        out = io.StringIO()
        code = await send_and_show(
            broker.settings, name, order or an_order(), wait=Wait.ACCEPTED, within_s=0.3, as_json=False, out=out
        )
        assert code == EXIT_NO_ANSWER
        return out.getvalue()

    assert "no daemon has ever spoken for site" in await say_to(site)
    async with site_that_answers(broker.settings, site):
        assert "access rules may not let you order" in await say_to(site)
    order = an_order()
    async with site_that_answers(broker.settings, site, stage(order, S.RECEIVED)):
        assert "the site has the order" in await say_to(site, order)
    assert "is not running" in await say_to(site)


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


@pytest.mark.parametrize(
    ("text", "power_w"),
    [("400kW", 400_000), ("1.5 MW", 1_500_000), ("0kW", 0), ("250000w", 250_000), ("0.0004GW", 400_000)],
)
def test_a_power_is_read_with_its_unit(text: str, power_w: int) -> None:
    assert parse_power(text) == power_w


@pytest.mark.parametrize("text", ["400", "-1kW", "kW", "400 kWh", "1e3kW", ""])
def test_a_power_without_a_unit_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no power"):
        parse_power(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("90s", 90), ("1.5h", 5400), ("2 min", 120), ("1d", 86400)]
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["15", "0s", "-5m", "m", "1 month", ""])
def test_a_duration_without_a_unit_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)
