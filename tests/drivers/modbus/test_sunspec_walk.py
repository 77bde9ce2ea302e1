"""The walk along the models of a SunSpec device: what it finds, what it refuses, and that it always ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.maps.load import load_map
from drivers.modbus.maps.model import Block
from drivers.modbus.sunspec import LONGEST_MODEL, MOST_MODELS, ChainError, Found, walk

METER = load_map("sunspec_meter")
MARKER = [0x5375, 0x6E53]
END = [0xFFFF, 0]


def chain(*models: tuple[int, int]) -> list[int]:
    """The registers of models (id, length) behind the marker, without an end; their content is all ones."""
    words = list(MARKER)
    for model, length in models:
        words += [model, length] + [0xFFFF] * length
    return words


def found_in(memory: dict[int, list[int]], table=METER) -> tuple[Found, list[Block]]:
    """Walk over `memory`, which has runs of registers by their first address; also what was read."""
    registers = {first + at: word for first, words in memory.items() for at, word in enumerate(words)}
    walking = walk(table, table.bases)
    probe = next(walking)
    asked = []
    while True:
        asked.append(probe.block)
        wanted = range(probe.block.address, probe.block.address + probe.block.count)
        words = tuple(registers[at] for at in wanted) if all(at in registers for at in wanted) else None
        try:
            probe = walking.send(words)
        except StopIteration as ended:
            return ended.value, asked


def refusal(memory: dict[int, list[int]], table=METER) -> str:
    with pytest.raises(ChainError) as raised:
        found_in(memory, table)
    return str(raised.value)


@pytest.mark.parametrize("base", [40_000, 0, 50_000])
@pytest.mark.parametrize(
    ("model", "length"), [*((m, 105) for m in range(201, 205)), *((m, 124) for m in range(211, 215))]
)
def test_every_meter_model_is_found_behind_others_at_every_base(base: int, model: int, length: int) -> None:
    found, _ = found_in({base: chain((1, 66), (160, 48), (64001, 700), (model, length)) + END})
    assert (found.header, found.block.address) == ((model, length), base + 2 + 68 + 50 + 702)
    assert found.block.count <= 125


def test_the_addresses_of_a_found_meter_are_those_of_the_model_definitions() -> None:
    def places(model: int, length: int) -> dict[str, tuple[int, int | None]]:
        found, _ = found_in({40_000: chain((1, 66), (model, length)) + END})
        assert found.block.address == 40_070
        values = [value.number for value in found.table.values]
        return {
            n.name: (n.address - 40_070, None if n.scale_factor is None else n.scale_factor - 40_070) for n in values
        }

    integers = {"frequency": (16, 17), "active_power": (18, 22)}
    floats = {"frequency": (26, None), "active_power": (28, None)}
    assert places(203, 105) == {"voltage": (7, 15)} | integers
    assert places(204, 105) == {"voltage": (11, 15)} | integers
    assert places(213, 124) == {"voltage": (10, None)} | floats
    assert places(214, 124) == {"voltage": (18, None)} | floats


def test_the_walk_reads_headers_alone_and_each_once() -> None:
    _, asked = found_in({40_000: chain((1, 65), (203, 105)) + END})
    assert asked == [Block(40_000, 2), Block(40_002, 2), Block(40_069, 2), Block(40_176, 2)]


def test_an_end_without_a_length_is_an_end() -> None:
    found, _ = found_in({40_000: [*chain((1, 66), (203, 105)), 0xFFFF]})
    assert found.model == 203


def test_the_end_may_be_the_last_register_there_is() -> None:
    words = [*chain((1, 66), (203, 105)), 0xFFFF]
    found, _ = found_in({0x10000 - len(words): words}, replace(METER, bases=(0x10000 - len(words),)))
    assert found.model == 203


def test_a_longer_model_than_its_definition_is_a_meter_and_a_shorter_one_is_not() -> None:
    assert found_in({0: chain((203, 107)) + END})[0].length == 107
    assert "model 203 at 2 has 104 registers, its definition 105" in refusal({0: chain((203, 104)) + END})


def test_of_two_meters_none_is_chosen_until_the_map_says_which() -> None:
    two = {40_000: chain((1, 66), (103, 50), (1, 65), (203, 105), (1, 65), (201, 105)) + END}
    said = refusal(two)
    assert "2 meters: model 203 at 40189, model 201 at 40363" in said
    assert "[sunspec] nth" in said
    assert found_in(two, replace(METER, nth=1))[0].model == 203
    assert found_in(two, replace(METER, nth=2))[0].model == 201
    assert "nth = 3 in the map, but the device has 2 meters" in refusal(two, replace(METER, nth=3))


def test_a_named_meter_needs_no_good_end_behind_it() -> None:
    broken = {40_000: [*chain((1, 66), (203, 105)), 0, 0]}
    assert "breaks off at 40177: model id 0, length 0" in refusal(broken)
    assert found_in(broken, replace(METER, nth=1))[0].model == 203


@pytest.mark.parametrize(
    ("memory", "complaint"),
    [
        (
            {},
            "no SunSpec marker 'SunS' (0x5375 0x6E53): nothing at 40000, nothing at 0, nothing at 50000; check unit_id",
        ),
        ({40_000: [0, 230]}, "0x0000 0x00E6 at 40000, nothing at 0"),
        (
            {0: chain((1, 66), (103, 50)) + END},
            "SunSpec device at 0 without a meter: it has the chain of models 1, 103",
        ),
        ({0: [*MARKER, *END]}, "without a meter: it has the chain of models, none of 201, 202, 203, 204, 211"),
        ({0: chain((1, 66))}, "the chain of models 1 breaks off at 70, where there are no registers"),
        ({0: MARKER}, "the chain of models breaks off at 2, where there are no registers"),
        ({0: [*chain((1, 66)), 203]}, "breaks off at 70: model id 203, no length"),
        ({0: [*MARKER, 1, LONGEST_MODEL + 1]}, f"breaks off at 2: model id 1, length {LONGEST_MODEL + 1}"),
        ({65_530: [*MARKER, 1, 66]}, "breaks off at 65532: model id 1, length 66"),
        ({0: chain(*[(1, 0)] * (MOST_MODELS + 1)) + END}, "chain of models 1, 1, 1 goes on beyond 100 models"),
    ],
)
def test_what_is_no_meter_is_refused_with_what_was_found(memory: dict[int, list[int]], complaint: str) -> None:
    assert complaint in refusal(memory, replace(METER, bases=(*METER.bases, *(memory.keys() - set(METER.bases)))))


@given(data=st.data())
def test_whatever_a_device_answers_the_walk_ends_in_bounded_steps_with_a_meter_or_a_reason(data: st.DataObject) -> None:
    walking = walk(METER, METER.bases)
    probe = next(walking)
    word = st.one_of(st.sampled_from([0, 1, 105, 124, 203, 213, 0x5375, 0x6E53, 0xFFFF]), st.integers(0, 0xFFFF))
    reached = -1
    for _ in range(len(METER.bases) + 2 * MOST_MODELS + 2):
        block = probe.block
        assert block.address >= 0
        assert block.address + block.count <= 0x10000
        if probe.for_marker:
            words = data.draw(st.one_of(st.none(), st.just(tuple(MARKER))))
        else:
            assert block.address >= reached
            reached = block.address
            words = data.draw(st.one_of(st.none(), st.tuples(*[word] * block.count)))
        try:
            probe = walking.send(words)
        except StopIteration as ended:
            assert ended.value.model in METER.models
            return
        except ChainError as error:
            assert str(error)
            return
    pytest.fail("the walk did not end")
