"""The octets of a reply, judged alone: what is wrong, what is unfinished, what is somebody else's."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.frame import Asked, fault_in

ASKED = Asked(transaction=5, unit_id=7, function=3, count=2)
GOOD_PDU = bytes((3, 4, 0, 1, 0, 2))


def frame(pdu: bytes = GOOD_PDU, *, transaction: int = 5, protocol: int = 0, unit_id: int = 7) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit_id) + pdu


def test_the_right_reply_has_no_fault_whole_or_unfinished() -> None:
    whole = frame()
    assert [fault_in(whole[:length], ASKED) for length in range(len(whole) + 1)] == [None] * (len(whole) + 1)


def test_an_exception_reply_of_the_asked_function_has_no_fault() -> None:
    assert fault_in(frame(b"\x83\x02"), ASKED) is None


def test_replies_of_other_transactions_and_units_are_passed_over_whatever_they_hold() -> None:
    others = frame(b"\x5a\x01", transaction=4) + frame(b"\x04\xff\x00", unit_id=8) + frame(transaction=0, unit_id=9)
    assert fault_in(others, ASKED) is None
    assert fault_in(others + frame(b"\x04\x04\0\0\0\0"), ASKED) == "function code 4 where 3 was asked"


def test_unit_0_takes_the_reply_of_any_unit() -> None:
    asked = Asked(transaction=5, unit_id=0, function=3, count=2)
    assert fault_in(frame(unit_id=255), asked) is None
    assert fault_in(frame(b"\x03\x02\0\0", unit_id=255), asked) == "1 registers where 2 were asked"


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        (frame(protocol=1), "protocol id 1 instead of 0"),
        (frame(transaction=0), "transaction id 0 could answer any request"),
        (struct.pack(">HHHBB", 5, 0, 2, 7, 3), "length field 2 is outside 3..254"),
        (struct.pack(">HHHBB", 5, 0, 255, 7, 3), "length field 255 is outside 3..254"),
        (frame(b"\x83\x02\x00"), "an exception reply of 2 octets instead of 1"),
        (frame(b"\x84\x02"), "function code 132 where 3 was asked"),
        (frame(b"\x03\x05\0\0\0\0"), "byte count 5 but 4 octets of data"),
        (frame(b"\x03\x03\0\0\0"), "1.5 registers where 2 were asked"),
        (frame(b"\x03\x06\0\0\0\0\0\0"), "3 registers where 2 were asked"),
    ],
)
def test_what_cannot_be_the_answer_is_named(octets: bytes, complaint: str) -> None:
    assert complaint in str(fault_in(octets, ASKED))


def test_data_before_any_request_are_a_fault() -> None:
    assert fault_in(frame(), None) == "it sent data before it was asked"


@given(st.binary(max_size=300))
def test_no_octets_at_all_make_the_judgement_fail(octets: bytes) -> None:
    fault_in(octets, ASKED)
    fault_in(frame()[:4] + octets, ASKED)
