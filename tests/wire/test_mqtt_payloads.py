"""The dispatch contract's payloads: what is an order, what is none and why, and what the site says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.dispatch import (
    Answer,
    AnswerStatus,
    Dispatch,
    DispatchClass,
    DispatchKind,
    Malformed,
    RejectCode,
)
from controller.domain.plan import Decision, Event, EventLevel
from controller.domain.policy import Mode
from controller.wire import mqtt

GOOD: dict[str, Any] = {
    "id": "01JD8Z0000000000000000TEST",
    "issuer": "npcc-desk-2",
    "seq": 1842,
    "issued_at": "2026-11-22T04:15:00.120Z",
    "expires_at": "2026-11-22T09:30:00+05:00",
    "class": "normal",
    "kind": "cap",
    "kw": 42000.5,
}
ABSENT = object()


def decoded(**changes: object) -> Dispatch | Malformed:
    fields = {key: value for key, value in (GOOD | changes).items() if value is not ABSENT}
    return mqtt.decode_dispatch(json.dumps(fields).encode())


def test_a_whole_order_is_read_to_the_watt_and_the_millisecond() -> None:
    assert decoded(priority=3, reason="reserve") == Dispatch(
        dispatch_id="01JD8Z0000000000000000TEST",
        issuer="npcc-desk-2",
        seq=1842,
        issued_at=1795320900.12,
        expires_at=1795321800.0,
        dispatch_class=DispatchClass.NORMAL,
        kind=DispatchKind.CAP,
        power_w=42_000_500,
        priority=3,
        reason="reserve",
    )


def test_a_start_is_read_with_its_offset_and_absent_means_at_once() -> None:
    order = decoded(not_before="2026-11-22T09:20:00.5+05:00")
    assert isinstance(order, Dispatch) and order.not_before == 1795321200.5
    without = decoded()
    assert isinstance(without, Dispatch) and without.not_before is None
    assert b"not_before" not in mqtt.encode_dispatch(without)


def test_a_release_needs_no_power() -> None:
    order = decoded(kind="release", kw=ABSENT)
    assert isinstance(order, Dispatch) and order.power_w is None


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"ramp_kw_min": 5}, RejectCode.INVALID_DATA, "'ramp_kw_min'"),
        ({"seq": ABSENT}, RejectCode.INVALID_DATA, "seq is missing"),
        ({"seq": "7"}, RejectCode.INVALID_DATA, "seq must be a whole number"),
        ({"seq": True}, RejectCode.INVALID_DATA, "seq must be a whole number"),
        ({"seq": 7.0}, RejectCode.INVALID_DATA, "seq must be a whole number"),
        ({"seq": -1}, RejectCode.INVALID_DATA, "seq must be a whole number"),
        ({"seq": 2**53}, RejectCode.INVALID_DATA, "seq must be a whole number"),
        ({"issued_at": "2026-11-22T04:15:00"}, RejectCode.INVALID_DATA, "issued_at must be an ISO 8601 time"),
        ({"issued_at": "yesterday"}, RejectCode.INVALID_DATA, "issued_at must be"),
        ({"issued_at": 1795320900}, RejectCode.INVALID_DATA, "issued_at must be a string"),
        ({"expires_at": None}, RejectCode.INVALID_DATA, "expires_at must be a string"),
        ({"expires_at": ABSENT}, RejectCode.INVALID_DATA, "expires_at is missing"),
        ({"expires_at": "2026-11-22T04:15:00.120Z"}, RejectCode.INVALID_DATA, "not after issued_at"),
        ({"not_before": "18:05"}, RejectCode.INVALID_DATA, "not_before must be an ISO 8601 time"),
        ({"not_before": "2026-11-22T04:15:00"}, RejectCode.INVALID_DATA, "not_before must be an ISO 8601 time"),
        ({"not_before": None}, RejectCode.INVALID_DATA, "not_before must be a string"),
        ({"kw": ABSENT}, RejectCode.INVALID_DATA, "kw is missing"),
        ({"kw": "42000"}, RejectCode.INVALID_DATA, "kw must be a number"),
        ({"kw": False}, RejectCode.INVALID_DATA, "kw must be a number"),
        ({"kw": None}, RejectCode.INVALID_DATA, "kw must be a number"),
        ({"kw": -0.001}, RejectCode.INVALID_DATA, "kw must be between"),
        ({"kw": 1e9}, RejectCode.INVALID_DATA, "kw must be between"),
        ({"kw": 10**400}, RejectCode.INVALID_DATA, "kw must be a finite number"),
        ({"kind": "release"}, RejectCode.INVALID_DATA, "carries no kw"),
        ({"kind": "delta"}, RejectCode.NOT_SUPPORTED, "send a cap or a target"),
        ({"kind": "raise"}, RejectCode.NOT_SUPPORTED, "cap, target, release"),
        ({"class": "cancel"}, RejectCode.NOT_SUPPORTED, "send kind release"),
        ({"class": "urgent"}, RejectCode.NOT_SUPPORTED, "normal, economic, emergency, test"),
        ({"class": 1}, RejectCode.INVALID_DATA, "class must be a string"),
        ({"id": ABSENT}, RejectCode.INVALID_ID, "id must be"),
        ({"id": ""}, RejectCode.INVALID_ID, "id must be"),
        ({"id": "x" * 65}, RejectCode.INVALID_ID, "id must be"),
        ({"id": "a\nb"}, RejectCode.INVALID_ID, "id must be"),
        ({"issuer": "desk/2"}, RejectCode.INVALID_ID, "issuer must be"),
        ({"issuer": 5}, RejectCode.INVALID_ID, "issuer must be"),
        ({"priority": 1.5}, RejectCode.INVALID_DATA, "priority must be"),
        ({"reason": "x" * 257}, RejectCode.INVALID_DATA, "reason must be"),
        ({"reason": "bell\a"}, RejectCode.INVALID_DATA, "reason must be"),
    ],
)
def test_what_is_no_order_is_refused_with_its_field_named(changes: Any, code: RejectCode, says: str) -> None:
    refused = decoded(**changes)
    assert isinstance(refused, Malformed)
    assert refused.code is code
    assert says in refused.reason


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 8000, "not JSON"),
        (b"9" * 8000, "not JSON"),
        (b"[1,2]", "not a JSON object"),
        (b'{"id":"a","id":"b"}', "'id' stands twice"),
        (b'{"kw":NaN}', "NaN is not a number"),
        (b'{"kw":-Infinity}', "-Infinity is not a number"),
        (b" " * 8193, "at most 8192"),
    ],
)
def test_bytes_that_are_no_object_are_refused(payload: bytes, says: str) -> None:
    refused = mqtt.decode_dispatch(payload)
    assert isinstance(refused, Malformed)
    assert refused.code is RejectCode.INVALID_DATA
    assert says in refused.reason


def test_a_refusal_names_the_order_as_far_as_it_could_be_made_out() -> None:
    refused = decoded(kw="much")
    assert isinstance(refused, Malformed)
    assert (refused.dispatch_id, refused.issuer) == (GOOD["id"], GOOD["issuer"])
    nameless = decoded(id="\x00", kw="much")
    assert isinstance(nameless, Malformed)
    assert (nameless.dispatch_id, nameless.issuer) == ("", GOOD["issuer"])


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_make_the_decoder_raise(payload: bytes) -> None:
    assert isinstance(mqtt.decode_dispatch(payload), Dispatch | Malformed)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([*GOOD.values()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "priority", "reason", "not_before", "x"]), anything, max_size=4))
def test_no_field_of_any_type_makes_the_decoder_raise_or_its_answer_unspeakable(changes: dict[str, object]) -> None:
    message = mqtt.decode_dispatch(json.dumps(GOOD | changes).encode())
    if isinstance(message, Malformed):
        refusal = Answer(
            message.dispatch_id, message.issuer, AnswerStatus.REJECTED, 0.0, True, None, message.code, message.reason
        )
        assert mqtt.decode_answer(mqtt.encode_answer(refusal)) == refusal
        assert len(mqtt.encode_answer(refusal)) < 1000


orders = st.builds(
    Dispatch,
    dispatch_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64),
    issuer=st.from_regex(mqtt.ISSUER_PATTERN, fullmatch=True),
    seq=st.integers(0, mqtt.SEQ_MAX),
    issued_at=st.integers(0, 2 * 10**12).map(lambda ms: ms / 1000),
    expires_at=st.integers(2 * 10**12 + 1, 4 * 10**12).map(lambda ms: ms / 1000),
    dispatch_class=st.sampled_from(DispatchClass),
    kind=st.sampled_from([DispatchKind.CAP, DispatchKind.TARGET]),
    power_w=st.integers(0, 10**11),
    priority=st.integers(0, mqtt.PRIORITY_MAX),
    reason=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=256),
    not_before=st.none() | st.integers(0, 4 * 10**12).map(lambda ms: ms / 1000),
)


@given(orders)
def test_an_order_survives_the_wire(order: Dispatch) -> None:
    assert mqtt.decode_dispatch(mqtt.encode_dispatch(order)) == order


def test_an_answer_survives_the_wire() -> None:
    for answer in (
        Answer("a", "b", AnswerStatus.CLAMPED, 1795320900.12, False, 25_500, None, "floor"),
        Answer("a", "b", AnswerStatus.REJECTED, 1795320900.0, True, None, RejectCode.EXPIRED, "late"),
    ):
        assert mqtt.decode_answer(mqtt.encode_answer(answer)) == answer
    with pytest.raises(ValueError, match="status"):
        mqtt.decode_answer(b'{"id":"a","issuer":"b"}')
    with pytest.raises(ValueError, match="SHRUGGED"):
        mqtt.decode_answer(b'{"id":"a","issuer":"b","status":"SHRUGGED"}')


def test_the_state_says_what_is_scheduled_and_for_when(decision: Decision) -> None:
    later = replace(decision, scheduled_orders=(("order-2", 1795320900.12),))
    state = mqtt.decode_state(mqtt.encode_state("dasu-1", Mode.CONTROL, later))
    assert (state["orders"], state["scheduled"]) == (
        ["order-1"],
        [{"id": "order-2", "not_before": "2026-11-22T04:15:00.120Z"}],
    )
    assert mqtt.decode_state(mqtt.encode_state("dasu-1", Mode.CONTROL, decision))["scheduled"] == []


def test_the_state_says_null_where_nothing_is_known(decision: Decision) -> None:
    payload = mqtt.encode_state("dasu-1", Mode.CONTROL, decision)
    state = mqtt.decode_state(payload)
    assert state["online"] is True
    assert state["at"] == "2026-11-22T04:15:00.120Z"
    assert state["surplus_kw"] == 430.0
    assert state["target_kw"] == 412.0
    assert state["measured_kw"] is None
    assert state["quarantined"] == 1
    assert state["bound"] == "surplus"
    assert state["orders"] == ["order-1"]
    assert state["inputs"] == [{"name": "site_load_w", "state": "fallback", "condition": "never seen", "age_s": None}]
    assert payload == mqtt.canonical(state).encode()


def test_the_last_will_and_an_event_speak_of_the_same_site() -> None:
    assert json.loads(mqtt.encode_offline("dasu-1", "lost")) == {"online": False, "site": "dasu-1", "reason": "lost"}
    event = Event("miner_quarantined", EventLevel.ERROR, "3 attempts", "r1-07")
    assert json.loads(mqtt.encode_event(event, 0.0)) == {
        "at": "1970-01-01T00:00:00.000Z",
        "name": "miner_quarantined",
        "level": "error",
        "text": "3 attempts",
        "miner": "r1-07",
    }


@pytest.mark.parametrize("site", ["", "a/b", "a#", "+", "a.b", "x" * 65, "süd"])
def test_a_site_id_that_is_not_one_topic_level_is_refused(site: str) -> None:
    with pytest.raises(ValueError, match="site id"):
        mqtt.topics_of(site)
