"""What a Modbus TCP reply must look like, judged on its bytes before any library parses them. Pure.

pymodbus 3.16 takes a reply of another function code, or with fewer registers than were asked, for good data, and a
reply with transaction id 0 as the answer to anything; on an unknown function code or a byte count that lies it raises
inside asyncio's protocol callback, which only a look beforehand can prevent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct(">HHHBB")  # transaction, protocol, length, unit, function
_BEFORE_LENGTH = 6  # octets that the length field does not count
_SHORTEST, _LONGEST = (
    3,
    254,
)  # unit + exception of two octets; unit + the longest PDU (Modbus application protocol 1.1b3)
EXCEPTION_BIT = 0x80


@dataclass(frozen=True, slots=True)
class Asked:
    """The one request in flight, or the last one that was. `count` is in registers."""

    transaction: int
    unit_id: int
    function: int
    count: int


def fault_in(received: bytes, asked: Asked | None) -> str | None:
    """Say what is wrong with the octets received so far, or None when nothing is (yet).

    Whole frames of another transaction or another unit are no fault: they are late or meant for somebody else, and the
    library skips them. An unfinished frame is no fault either; its deadline is the caller's affair.
    """
    if asked is None:
        return "it sent data before it was asked"
    at = 0
    while len(received) - at >= _HEADER.size:
        transaction, protocol, length, unit_id, function = _HEADER.unpack_from(received, at)
        if protocol != 0:
            return f"protocol id {protocol} instead of 0: this is not Modbus TCP"
        if not _SHORTEST <= length <= _LONGEST:
            return f"length field {length} is outside {_SHORTEST}..{_LONGEST}"
        end = at + _BEFORE_LENGTH + length
        if end > len(received):
            return None
        ours = asked.unit_id in (0, unit_id)
        if ours and transaction == 0:
            return "transaction id 0 could answer any request"
        if ours and transaction == asked.transaction:
            fault = _fault_in_reply(function, received[at + _HEADER.size : end], asked)
            if fault is not None:
                return fault
        at = end
    return None


def stranger_in(received: bytes, asked: Asked | None) -> int | None:
    """The unit id under which somebody else answered our request, or None. `fault_in` found nothing wrong before."""
    at = 0
    while asked is not None and len(received) - at >= _HEADER.size:
        transaction, _, length, unit_id, _ = _HEADER.unpack_from(received, at)
        if transaction == asked.transaction and asked.unit_id not in (0, unit_id):
            return int(unit_id)
        at += _BEFORE_LENGTH + length
    return None


def _fault_in_reply(function: int, rest: bytes, asked: Asked) -> str | None:
    """`rest` is what follows the function code."""
    if function == asked.function | EXCEPTION_BIT:
        return None if len(rest) == 1 else f"an exception reply of {len(rest)} octets instead of 1"
    if function != asked.function:
        return f"function code {function} where {asked.function} was asked"
    if rest[0] != len(rest) - 1:
        return f"byte count {rest[0]} but {len(rest) - 1} octets of data"
    if rest[0] != 2 * asked.count:
        return f"{rest[0] / 2:g} registers where {asked.count} were asked"
    return None
