"""Where a SunSpec device keeps its meter: from the marker along the chain of models, a few registers at a time. Pure.

The walk is a generator: it yields what to read next and is sent the words, or None where the device has no such
registers. So it can rest between two reads of a slow meter and go on where it stood. It always ends: addresses only
rise, and both the number of models and their length have a limit.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from drivers.modbus.maps.model import Block, RegisterMap, SunSpecMap

MARKER = (0x5375, 0x6E53)  # 'SunS'
END = 0xFFFF
MOST_MODELS = 100
LONGEST_MODEL = 8_192  # registers; a length beyond it is no length but the end of what the device describes
_REGISTERS = 0x10000

Words = tuple[int, ...]


class ChainError(Exception):
    """There is no telling where the meter is. The text says what was found instead and what to do."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What to read next. `for_marker`: a device may have nothing at all there, not even an answer."""

    block: Block
    for_marker: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A meter model in its place.

    block: one read from the model's id to the last value.
    table: the values at their real addresses.
    """

    model: int
    length: int
    block: Block
    table: RegisterMap

    @property
    def header(self) -> Words:
        """The first words of `block`, for as long as the device is the one that was walked."""
        return (self.model, self.length)

    def __str__(self) -> str:
        return f"model {self.model} at {self.block.address}"


Walk = Generator[Probe, Words | None, Found]


def walk(sunspec: SunSpecMap, bases: tuple[int, ...]) -> Walk:
    """Find the meter, trying `bases` in their order. Raises ChainError."""
    seen: list[str] = []
    for base in bases:
        words = yield Probe(Block(base, len(MARKER)), for_marker=True)
        if words == MARKER:
            return (yield from _along(sunspec, base))
        seen.append(f"{'nothing' if words is None else _hexadecimal(words)} at {base}")
    raise ChainError(
        f"no SunSpec marker 'SunS' (0x5375 0x6E53): {', '.join(seen)}; check unit_id, switch SunSpec on in the device, "
        "or use the map of its own register table"
    )


def _along(sunspec: SunSpecMap, base: int) -> Walk:
    passed: list[str] = []
    meters: list[Found] = []
    address = base + len(MARKER)
    while True:
        model, length = yield from _header(address, passed)
        if model == END:
            return _chosen(sunspec, meters, passed, base)
        if length is None or model == 0 or length > LONGEST_MODEL or address + 2 + length > _REGISTERS:
            described = "no length" if length is None else f"length {length}"
            raise ChainError(f"{_chain(passed)} breaks off at {address}: model id {model}, {described}; {_ASK_MAKER}")
        if len(passed) == MOST_MODELS:
            raise ChainError(f"{_chain(passed[:3])} goes on beyond {MOST_MODELS} models; {_ASK_MAKER}")
        passed.append(str(model))
        layout = sunspec.layout_of(model)
        if layout is not None:
            if length < layout.length:
                raise ChainError(
                    f"model {model} at {address} has {length} registers, its definition {layout.length}: what stands "
                    f"where is uncertain; {_ASK_MAKER}"
                )
            meters.append(Found(model, length, Block(address, layout.count), layout.at(address)))
            if len(meters) == sunspec.nth:
                return meters[-1]
        address += 2 + length


def _header(address: int, passed: list[str]) -> Generator[Probe, Words | None, tuple[int, int | None]]:
    """Id and length of the model at `address`; some devices end with the id alone."""
    if address + 2 <= _REGISTERS:
        words = yield Probe(Block(address, 2), for_marker=False)
        if words is not None:
            return words[0], words[1]
    words = (yield Probe(Block(address, 1), for_marker=False)) if address < _REGISTERS else None
    if words is None:
        raise ChainError(f"{_chain(passed)} breaks off at {address}, where there are no registers; {_ASK_MAKER}")
    return words[0], None


def _chosen(sunspec: SunSpecMap, meters: list[Found], passed: list[str], base: int) -> Found:
    if sunspec.nth is None and len(meters) == 1:
        return meters[0]
    if not meters:
        known = ", ".join(str(model) for model in sunspec.models)
        raise ChainError(
            f"SunSpec device at {base} without a meter: it has {_chain(passed)}, none of {known}; "
            "give the unit_id of the meter, which often differs from that of its inverter or gateway"
        )
    count = f"{len(meters)} meter{'s' if len(meters) > 1 else ''}"
    listed = ", ".join(str(meter) for meter in meters)
    if sunspec.nth is not None:
        raise ChainError(f"nth = {sunspec.nth} in the map, but the device has {count}: {listed}; correct nth")
    raise ChainError(
        f"the device has {count}: {listed}; copy the map {sunspec.table.model}, say which one under [sunspec] nth, "
        "and name the copy's .toml file as map"
    )


_ASK_MAKER = "update the device's firmware, or use the map of its own register table"


def _chain(passed: list[str]) -> str:
    return f"the chain of models {', '.join(passed)}" if passed else "the chain of models"


def _hexadecimal(words: Words) -> str:
    return " ".join(f"0x{word:04X}" for word in words)
