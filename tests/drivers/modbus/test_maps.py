"""Register maps as data: what ships, and that a mistake in one is refused by file, key and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.metering import Point
from drivers.modbus.maps.load import known_models, load_map, parse_map
from drivers.modbus.maps.model import Block, Feeds, Function, RegisterType, SunSpecMap, WordOrder
from drivers.modbus.maps.table import MapError

GOOD = """\
model = "m"
title = "t"
function = "input"
word_order = "little"
confidence = "C"
sources = ["a manual"]

[[value]]
name = "active_power"
address = 40
type = "INT32"
unit = "W"
scale = 0.1
point = "site"
doubt_bit = 3

[[flag]]
name = "trip"
address = 42
bits = [0]
point = "trip"

[doubt]
address = 43

[energy.positive]
address = 52
type = "INT32"
unit = "Wh"
scale = 100
"""


def test_the_shipped_maps_load_and_say_where_they_are_from() -> None:
    assert known_models() == ("plant_dcs", "plant_dcs_2units", "siemens_pac2200", "sunspec_meter")
    for model in known_models():
        loaded = load_map(model)
        table = loaded.table if isinstance(loaded, SunSpecMap) else loaded
        assert table.model == model
        assert table.sources


def test_each_shipped_map_needs_one_read_for_control_and_one_for_energy() -> None:
    fixed = [load_map(model) for model in known_models() if model != "sunspec_meter"]
    blocks = {register_map.model: (register_map.control_block, register_map.energy_block) for register_map in fixed}
    assert blocks == {
        "siemens_pac2200": (Block(1, 66), Block(801, 12)),
        "plant_dcs": (Block(0, 31), None),
        "plant_dcs_2units": (Block(0, 45), None),
    }


def test_the_two_plant_maps_agree_on_everything_but_the_second_unit() -> None:
    one, two = load_map("plant_dcs"), load_map("plant_dcs_2units")
    assert (one.values, one.flags, one.doubt_address) == (two.values, two.flags, two.doubt_address)
    assert two.units[:1] == one.units


def test_the_power_of_a_meter_feeds_no_point_before_the_site_says_so() -> None:
    feeds = {value.number.name: value.feeds for value in load_map("siemens_pac2200").values}
    assert feeds == {
        "voltage": Point.VOLTAGE_V,
        "frequency": Point.FREQUENCY_HZ,
        "active_power": Feeds.SITE_MUST_NAME,
    }


def test_the_sunspec_map_reads_every_layout_in_one_block_with_its_header() -> None:
    loaded = load_map("sunspec_meter")
    assert {layout.models: (layout.count, layout.length) for layout in loaded.layouts} == {
        (201, 202, 203): (23, 105),
        (204,): (23, 105),
        (211, 212, 213): (30, 124),
        (214,): (30, 124),
    }
    assert loaded.bases == (40_000, 0, 50_000)


def test_a_map_of_the_sites_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(GOOD)
    loaded = load_map(path)
    assert (loaded.function, loaded.word_order) == (Function.INPUT, WordOrder.LITTLE)
    assert loaded.values[0].number.type is RegisterType.INT32
    assert loaded.control_block == Block(40, 4)


def test_the_example_in_the_documentation_is_a_good_map() -> None:
    text = (Path(__file__).parents[3] / "docs" / "meters.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    loaded = parse_map(example, "acme_em100.toml")
    assert loaded.control_block == Block(40, 12)
    assert loaded.energy_block == Block(52, 2)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('title = "t"', 'title = "t"\ncolour = "red"', "our.toml: colour: unknown key; known here are"),
        ("scale = 0.1", "scle = 0.1", "our.toml: value[active_power].scle: unknown key"),
        ("bits = [0]", "bits = [0]\nbit = 1", "our.toml: flag[trip].bit: unknown key"),
        ("address = 43", "address = 43\nbit = 1", "our.toml: doubt.bit: unknown key"),
        ("[energy.positive]", "[energy.imported]", "our.toml: energy.imported: unknown key"),
        ("address = 52", "address = 52\nrate = 1", "our.toml: energy.positive.rate: unknown key"),
        ('word_order = "little"', "", "our.toml: word_order: is missing"),
        (
            'word_order = "little"',
            'word_order = "mixed"',
            "word_order: is 'mixed'; choose one of big, little",
        ),
        ('type = "INT32"\nunit = "W"', 'type = "INT24"\nunit = "W"', "value[active_power].type: is 'INT24'; choose"),
        ("address = 40", "address = 65536", "value[active_power].address: 65536 is outside 0..65535"),
        ("address = 40", "address = true", "value[active_power].address: must be int, not True"),
        ("address = 40", "address = 65535", "span registers 42..65536"),
        ("address = 40", "address = 400", "span registers 42..401"),
        ("scale = 0.1", "scale = 0", "value[active_power].scale: is 0"),
        ("scale = 0.1", "scale = inf", "value[active_power].scale: must be a finite number"),
        ("scale = 0.1", "not_available = [0x1FFFFFFFF]", "not_available: holds a pattern that does not fit INT32"),
        ("scale = 0.1", "wraps = true", "value[active_power].wraps: only unsigned counters wrap"),
        ('point = "site"', 'point = "poi"', "value[active_power].point: is 'poi'; choose site or one of poi_export_w"),
        (
            'point = "site"',
            'point = "frequency_hz"',
            "unit: is W but the point frequency_hz is in Hz",
        ),
        ("doubt_bit = 3", "doubt_bit = 16", "value[active_power].doubt_bit: 16 is outside 0..15"),
        ("[doubt]\naddress = 43", "", "our.toml: doubt_bit is set but no [doubt] table"),
        ("bits = [0]", "bits = []", "flag[trip].bits: needs at least one bit"),
        ('point = "trip"', 'point = "gross_w"', "flag[trip].point: gross_w is no flag"),
        ('name = "trip"', 'name = "active_power"', "our.toml: the name 'active_power' stands twice"),
        ('unit = "Wh"', 'unit = "W"', "energy.positive.unit: is W, must be Wh"),
        ('type = "INT32"\nunit = "Wh"', 'type = "FLOAT32"\nunit = "Wh"', "energy.positive.type: FLOAT32 steps 64 Wh"),
        ("sources = [", "sources = [1, ", "our.toml: sources: must be a list of texts"),
        ("[[flag]]", "[flag]", "our.toml: flag: must be list"),
        ("[[flag]]", "[[flag", "our.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_refused_with_file_key_and_reason(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(MapError) as raised:
        parse_map(GOOD.replace(old, new), "our.toml")
    assert complaint in str(raised.value)


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MapError, match="no register map 'pac9999'; known are plant_dcs, "):
        load_map("pac9999")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"gone\.toml: cannot be read"):
        load_map(tmp_path / "gone.toml")


def test_a_map_that_describes_nothing_is_refused() -> None:
    with pytest.raises(MapError, match="describes no value"):
        parse_map(GOOD[: GOOD.index("[[value]]")], "our.toml")


SUNSPEC = """\
model = "m"
title = "t"
function = "holding"
word_order = "big"
confidence = "B"
sources = ["a manual"]

[sunspec]
bases = [40000]
nth = 2

[[sunspec.layout]]
models = [203]
length = 105

[[sunspec.layout.value]]
name = "active_power"
address = 18
type = "INT16"
unit = "W"
scale_factor = 22
point = "site"

[[sunspec.layout]]
models = [213]
length = 124

[[sunspec.layout.value]]
name = "active_power"
address = 28
type = "FLOAT32"
unit = "W"
point = "site"
"""


def test_a_sunspec_map_of_the_sites_own_may_say_which_meter() -> None:
    loaded = parse_map(SUNSPEC, "our.toml")
    assert isinstance(loaded, SunSpecMap)
    assert (loaded.bases, loaded.nth, loaded.models) == ((40_000,), 2, (203, 213))
    assert parse_map(SUNSPEC.replace("nth = 2\n", ""), "our.toml").nth is None


def test_a_scale_factor_belongs_to_the_block_of_any_map() -> None:
    loaded = parse_map(GOOD.replace("scale = 0.1", "scale_factor = 30"), "our.toml")
    assert loaded.values[0].number.scale_factor == 30
    assert loaded.control_block == Block(30, 14)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("bases = [40000]", "bases = []", "our.toml: sunspec.bases: needs at least one register"),
        ("bases = [40000]", "bases = [0, 0]", "our.toml: sunspec.bases: needs at least one register, each once"),
        ("bases = [40000]", "bases = [65535]", "sunspec.bases: needs at least one register, each once and in 0..65534"),
        ("nth = 2", "nth = -1", "our.toml: sunspec.nth: is -1; the first meter of a unit is 1"),
        ("nth = 2", "which = 2", "our.toml: sunspec.which: unknown key"),
        ("[sunspec]", "[doubt]\naddress = 1\n[sunspec]", "our.toml: doubt: unknown key"),
        ("models = [203]", "models = []", "our.toml: sunspec.layout[0].models: needs at least one id"),
        (
            "models = [203]",
            "models = [65535]",
            "our.toml: sunspec.layout[0].models: needs at least one id, each 1..65534",
        ),
        ("models = [203]", "models = [213]", "our.toml: sunspec.layout: names a model twice"),
        ("length = 105", "length = 20", "sunspec.layout[0].length: is 20, but the values need 21"),
        ("length = 105", "length = 105\nflags = 1", "our.toml: sunspec.layout[0].flags: unknown key"),
        ("address = 18", "address = 1", "sunspec.layout[0].value: addresses count from the model's id"),
        ("scale_factor = 22", "scale_factor = 0", "sunspec.layout[0].value: addresses count from the model's id"),
        ("scale_factor = 22", "scale_factor = 125", "sunspec.layout[0].value: values must end within 125 registers"),
        ("scale_factor = 22", "scale_factor = 70000", "value[active_power].scale_factor: 70000 is outside 0..65535"),
        ('"FLOAT32"', '"FLOAT32"\nscale_factor = 40', "sunspec.layout[1].value[active_power].scale_factor: goes with"),
        ('unit = "W"\nscale_factor', 'unit = "V"\nscale_factor', "sunspec.layout: differ in names, units or points"),
    ],
)
def test_a_mistake_in_a_sunspec_map_is_refused_with_file_key_and_reason(old: str, new: str, complaint: str) -> None:
    assert old in SUNSPEC
    with pytest.raises(MapError) as raised:
        parse_map(SUNSPEC.replace(old, new, 1), "our.toml")
    assert complaint in str(raised.value)


def test_a_sunspec_map_without_layouts_is_refused() -> None:
    with pytest.raises(MapError, match=r"our\.toml: sunspec\.layout: is missing; add \[\[sunspec\.layout\]\]"):
        parse_map(SUNSPEC[: SUNSPEC.index("[[sunspec.layout]]")], "our.toml")
