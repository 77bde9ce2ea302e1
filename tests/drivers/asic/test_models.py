"""Model files, the catalogue and observe mode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Level
from drivers.asic.profiles import Confidence, ModelFacts, ModelFileError, all_facts, facts_of, parse
from drivers.catalog import build_dry_run, build_miner, known_models, mismatches, model_named, nameplate_level
from simulators.asic.models import MODELS

GOOD = """
model = "Box"
firmware = "LuxOS"
pyasic_family = "LUX_OS"
nameplate = "b"
levels = [["a", 100, 1.0], ["b", 200, 2]]
[source]
confidence = "recorded"
text = "measured"
[response]
sleep_dead_s = 1.0
sleep_90_s = 4.0
wake_dead_s = 5.0
wake_90_s = 15.0
trim_dead_s = 1.0
trim_90_s = 3.0
sleep_power_w = 25
"""


def test_ten_models_are_known_by_model_and_firmware() -> None:
    assert sorted(known_models()) == [
        "Antminer S19 Pro (Antminer stock)",
        "Antminer S19 XP (Antminer stock)",
        "Antminer S19 XP (LuxOS)",
        "Antminer S19j Pro (LuxOS)",
        "Antminer S19k Pro (LuxOS)",
        "Antminer S21 (Antminer stock)",
        "Antminer S21 (LuxOS)",
        "WhatsMiner M30S++ (WhatsMiner V2)",
        "WhatsMiner M50S (WhatsMiner V2)",
        "WhatsMiner M60S (WhatsMiner V2)",
    ]
    assert model_named("antminer s21", "luxos").levels[nameplate_level("Antminer S21", "LuxOS")].power_w == 3_500


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'S99'.*known: .*Antminer S21 \(LuxOS\)"):
        model_named("S99", "LuxOS")


def built(model: str, firmware: str, **other: Any) -> Any:
    """The driver of a miner that is never called."""
    wiring = {"host": "127.0.0.1", "port": 1, "username": None, "password": None, "deadline_s": 1.0, **other}
    return build_miner(miner_id="m", index=0, model=model, firmware=firmware, **wiring)


@pytest.mark.parametrize("facts", all_facts().values(), ids=all_facts())
def test_the_firmware_decides_which_driver_speaks(facts: ModelFacts) -> None:
    drivers = {"LuxOS": "LuxosMiner", "WhatsMiner V2": "WhatsMinerV2", "Antminer stock": "AntminerStock"}
    assert type(built(facts.model, facts.firmware)).__name__ == drivers[facts.firmware]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [({"deadline_s": 0}, "deadline_s"), ({"host": "miner-7.example"}, "miner-7"), ({"wear_today": -1}, "-1")],
)
@pytest.mark.parametrize(
    ("model", "firmware"),
    [("Antminer S21", "LuxOS"), ("WhatsMiner M60S", "WhatsMiner V2"), ("Antminer S21", "Antminer stock")],
)
def test_a_miner_that_cannot_be_driven_is_refused_when_it_is_built(
    model: str, firmware: str, wrong: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        built(model, firmware, **wrong)


def test_the_recorded_ladder_is_the_s19k_pros() -> None:
    facts = facts_of("Antminer S19k Pro", "LuxOS")
    assert facts.confidence is Confidence.RECORDED
    assert facts.envelope.levels[0] == Level("190MHz", 784, 39.2)
    assert facts.envelope.levels[facts.nameplate_level] == Level("default", 2_794, 121.8)


@pytest.mark.parametrize("key", sorted(MODELS))
def test_the_simulated_miner_has_the_ladder_on_file(key: str) -> None:
    simulated = MODELS[key]
    told = tuple(Level(rung.name, rung.power_w, rung.hashrate_th) for rung in simulated.profiles)
    envelope = model_named(simulated.name, simulated.family)
    assert mismatches(envelope.levels, told) == ()
    assert envelope.nameplate_level == simulated.default_profile


def test_ladders_that_differ_are_told_apart_rung_by_rung() -> None:
    on_file = (Level("a", 1_000, 1.0), Level("b", 2_000, 2.0), Level("c", 3_000, 3.0))
    told = (Level("a", 1_009, 1.0), Level("b", 2_021, 2.0), Level("d", 3_000, 3.0))
    assert mismatches(on_file, told) == (
        "the miner has no profile 'c'",
        "the miner's profile 'd' is not on file",
        "profile 'b' draws 2021 W, on file 2000 W",
    )


def test_a_good_model_file_loads() -> None:
    facts = parse(GOOD, "box.toml")
    envelope = facts.envelope
    assert (envelope.name, envelope.nameplate_level, envelope.response.name) == ("Box (LuxOS)", 1, "LuxOS")
    assert (envelope.trims, envelope.reports_power, facts.estimate_error_ratio) == (True, True, None)
    assert facts.pyasic_model == "Box"


def test_a_model_file_may_say_that_a_miner_does_not_trim_and_tells_no_watts() -> None:
    silent = f'pyasic_model = "BOXV1"\ntrims = false\nreports_power = false\n{GOOD}[estimate]\nerror_ratio = 0.12\n'
    facts = parse(silent, "box.toml")
    assert (facts.envelope.trims, facts.envelope.reports_power, facts.estimate_error_ratio) == (False, False, 0.12)
    assert facts.pyasic_model == "BOXV1"


@pytest.mark.parametrize("firmware", ["LuxOS", "WhatsMiner V2", "Antminer stock"])
def test_the_models_of_one_firmware_answer_alike(firmware: str) -> None:
    family = [facts for facts in all_facts().values() if facts.firmware == firmware]
    assert len({facts.envelope.response for facts in family}) == 1
    assert {facts.envelope.trims for facts in family} == {firmware != "Antminer stock"}
    assert {facts.envelope.reports_power for facts in family} == {firmware != "Antminer stock"}


@pytest.mark.parametrize(
    ("model", "firmware", "lowest", "nameplate"),
    [
        ("WhatsMiner M60S", "WhatsMiner V2", ("40", 1_376), ("100", 3_441)),
        ("Antminer S19 Pro", "Antminer stock", ("low", 2_210), ("normal", 3_250)),
        ("Antminer S19k Pro", "LuxOS", ("190MHz", 784), ("default", 2_794)),
    ],
)
def test_ladders_start_low_and_know_the_makers_rung(
    model: str, firmware: str, lowest: tuple[str, int], nameplate: tuple[str, int]
) -> None:
    envelope = model_named(model, firmware)
    plate = envelope.levels[envelope.nameplate_level]
    assert (envelope.levels[0].name, envelope.levels[0].power_w) == lowest
    assert (plate.name, plate.power_w) == nameplate


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('model = "Box"', "", r"box\.toml: model: expected a text"),
        ('nameplate = "b"', 'nameplate = "z"', "nameplate: no level is called 'z'"),
        ('["b", 200, 2]', '["b", 100, 2]', "watts must rise"),
        ('["b", 200, 2]', '["a", 200, 2]', "a name stands twice"),
        ('["b", 200, 2]', '["b", 200]', r"levels\[1\]"),
        ('["b", 200, 2]', '["b", -200, 2]', r"levels\[1\]"),
        ('[["a", 100, 1.0], ["b", 200, 2]]', "[]", "levels: expected a list"),
        ("sleep_dead_s = 1.0", "", "response: expected exactly sleep_dead_s"),
        ("sleep_dead_s = 1.0", "sleep_dead_s = 0", r"response\.sleep_dead_s: 0 is not"),
        ("sleep_dead_s = 1.0", 'sleep_dead_s = "1"', r"response\.sleep_dead_s: '1' is not"),
        ('confidence = "recorded"', 'confidence = "sure"', "source.confidence: 'sure'"),
        ("[source]", "[sources]", r"\[source\] is missing"),
        ("[response]", "[response", r"box\.toml: "),
        ('nameplate = "b"', 'nameplate = "b"\ntrims = "no"', "trims: expected true or false, got 'no'"),
        ('nameplate = "b"', 'nameplate = "b"\nreports_power = 0', "reports_power: expected true or false, got 0"),
        ('nameplate = "b"', 'nameplate = "b"\nreports_power = false', r"\[estimate\] is missing"),
        (
            "[source]",
            "[estimate]\nerror_ratio = 0.1\n[source]",
            r"\[estimate\] is for models with reports_power = false",
        ),
    ],
)
def test_a_bad_model_file_is_refused_with_file_key_and_value(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelFileError, match=complaint):
        parse(GOOD.replace(old, new), "box.toml")


def test_every_file_says_where_its_numbers_are_from() -> None:
    assert all(facts.source.endswith(".") and len(facts.source) > 40 for facts in all_facts().values())


async def test_observe_mode_reads_and_withholds_every_command(bench: Any) -> None:
    load = build_dry_run(bench.ours, index=0)
    assert (await load.read()).prior == "default"
    for command in (bench.SLEEP, bench.SHED, replace(bench.WAKE, urgent=True), bench.trim(3)):
        report = await load.perform(command)
        assert (report.outcome, report.sent_at, report.command_id) == (Outcome.WITHHELD, None, command.command_id)
    assert (await load.restore("190MHz")).outcome is Outcome.WITHHELD
    await load.close()
    assert bench.commands() == ["power", "summary", "config", "version"]
