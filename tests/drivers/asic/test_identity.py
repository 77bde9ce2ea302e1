"""Who a miner says it is, and what makes that a contradiction."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from drivers.asic.identity import (
    IdentityCheck,
    Told,
    contradiction,
    told_by_devdetails,
    told_by_system_info,
    told_by_version,
)
from drivers.asic.profiles import ModelFacts, all_facts, facts_of

LUXOS = facts_of("Antminer S19k Pro", "LuxOS")
STOCK = facts_of("Antminer S19 Pro", "Antminer stock")
WHATSMINER = facts_of("WhatsMiner M50S", "WhatsMiner V2")

SILENCE_AND_STRANGERS: list[Any] = [
    None, {}, [], 5, "LUXminer", {"VERSION": []}, {"VERSION": [None]}, {"VERSION": [{"Type": 7}]},
    {"VERSION": [{"API": "3.7", "Miner": "49.0.1.3"}]}, {"VERSION": [{"Type": "BHB42XXX", "CGMiner": "1.0.0"}]},
    {"VERSION": [{"CGMiner": "4.11.1"}]}, {"Msg": {}}, {"Msg": {"api_ver": 2, "fw_ver": None}}, {"major": 1},
    {"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "Invalid command", "Description": "cgminer 1.0.0"}]},
    {"STATUS": "E", "Code": 14, "Msg": "invalid cmd", "Description": ""},
    {"DEVDETAILS": []}, {"DEVDETAILS": [{"Model": ""}]}, {"DEVDETAILS": [{"Model": "H616"}]},
    {"minertype": ""}, {"minertype": None}, {"minertype": "Antminer BHB68601"}, {"minertype": "S19"},
]  # fmt: skip


def recorded(path: str) -> Any:
    """A recorded reply."""
    return json.loads((resources.files("simulators") / "data" / path).read_text(encoding="utf-8"))


def version(**fields: str) -> dict[str, Any]:
    """A `version` reply with these fields."""
    return {"STATUS": [{"STATUS": "S", "Code": 22, "Msg": "versions"}], "VERSION": [{"API": "3.1", **fields}], "id": 1}


@pytest.mark.parametrize(
    ("told", "firmware", "model"),
    [
        (told_by_version(recorded("luxminer/version.json")), "LuxOS", "Antminer S19k Pro"),
        (told_by_version(recorded("antminer/version.json")), "Antminer stock", "Antminer S19 Pro"),
        (told_by_version(recorded("whatsminer/get_version.json")), "WhatsMiner V2", ""),
        (told_by_system_info(recorded("antminer/system_info.json")), "", "Antminer S21"),
        (told_by_version(version(CGMiner="1.0.0", Type="Antminer T21")), "Antminer stock", "Antminer T21"),
        (told_by_version(version(BOSer="boser-buildroot 0.1.0-75912fc7")), "Braiins OS", ""),
        (told_by_version({**version(), "VERSION": [{"BOSminer+": "bosminer-plus 0.2"}]}), "Braiins OS", ""),
        (told_by_version(version(BMMiner="1", Type="Antminer S19 (Vnish 1.2.6)")), "VNish", "Antminer S19"),
        (told_by_version(version(CGMiner="1", Type="Antminer S19K Pro HIVEON")), "Hiveon", "Antminer S19K Pro"),
        (told_by_version({"STATUS": "S", "Msg": {"api_ver": "3.0.1", "fw_ver": "20251209"}}), "WhatsMiner V3", ""),
        (told_by_version({"STATUS": "S", "Msg": {"api_ver": "whatsminer v1.4.0", "fw_ver": "x"}}), "WhatsMiner V1", ""),
        (told_by_version({"STATUS": "S", "Msg": {"api_ver": "new", "fw_ver": "x"}}), "WhatsMiner", ""),
        (told_by_version({"STATUS": "E", "Msg": "btminer process is down"}), "WhatsMiner", ""),
        (told_by_devdetails({"DEVDETAILS": [{"Model": "M50S_VH50"}]}), "WhatsMiner", "WhatsMiner M50S"),
        (told_by_devdetails({"DEVDETAILS": [{"Model": "M30S++_VH50"}]}), "WhatsMiner", "WhatsMiner M30S++"),
        (told_by_devdetails({"DEVDETAILS": [{"Model": "M60"}]}), "WhatsMiner", "WhatsMiner M60"),
        (told_by_devdetails({"STATUS": [{"Description": "LUXminer 2025.4.8"}]}), "LuxOS", ""),
        (told_by_system_info({"minertype": "Antminer S9 (vnish 3.9.0)"}), "VNish", "Antminer S9"),
    ],
)
def test_what_a_miner_says_is_read(told: Told, firmware: str, model: str) -> None:
    assert (told.firmware, told.model) == (firmware, model)
    assert told.words, "a person wants to see what was said"


@pytest.mark.parametrize("document", SILENCE_AND_STRANGERS, ids=lambda document: json.dumps(document)[:50])
def test_silence_refusals_and_strange_shapes_say_nothing(document: object) -> None:
    for reader in (told_by_version, told_by_devdetails, told_by_system_info):
        assert reader(document) == Told()


@pytest.mark.parametrize("facts", all_facts().values(), ids=all_facts())
def test_saying_nothing_contradicts_nobody(facts: ModelFacts) -> None:
    assert contradiction(facts, Told()) == ""


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (LUXOS, Told("LuxOS", "Antminer S19k Pro")),
        (LUXOS, Told("LuxOS", "")),
        (LUXOS, Told("", "Antminer S19K Pro NOPIC")),
        (LUXOS, Told("", "Antminer S19kPro")),
        (STOCK, Told("Antminer stock", "Antminer S19 Pro A")),
        (WHATSMINER, Told("WhatsMiner", "WhatsMiner M50S")),
        (WHATSMINER, Told("WhatsMiner V2", "")),
    ],
)
def test_the_same_machine_in_other_words_fits(facts: ModelFacts, told: Told) -> None:
    assert contradiction(facts, told) == ""


@pytest.mark.parametrize(
    ("facts", "told", "sentence"),
    [
        (
            LUXOS,
            told_by_version(recorded("antminer/version.json")),
            "the inventory has LuxOS, the miner says Antminer stock (Antminer S19 Pro, BMMiner)",
        ),
        (
            facts_of("Antminer S21", "LuxOS"),
            told_by_version(recorded("luxminer/version.json")),
            "the inventory has Antminer S21, the miner says Antminer S19k Pro (Antminer S19k Pro, LUXminer)",
        ),
        (
            WHATSMINER,
            Told("WhatsMiner V3", "", "api 3.0.1"),
            "the inventory has WhatsMiner V2, the miner says WhatsMiner V3 (api 3.0.1)",
        ),
        (
            WHATSMINER,
            told_by_devdetails({"DEVDETAILS": [{"Model": "M50S++_VK20"}]}),
            "the inventory has WhatsMiner M50S, the miner says WhatsMiner M50S++ (M50S++_VK20)",
        ),
        (LUXOS, Told("WhatsMiner", "", "btminer"), "the inventory has LuxOS, the miner says WhatsMiner (btminer)"),
        (
            STOCK,
            told_by_system_info(recorded("antminer/system_info.json")),
            "the inventory has Antminer S19 Pro, the miner says Antminer S21 (Antminer S21)",
        ),
        (
            STOCK,
            Told("", "Antminer S19 Pro+ Hyd.", "x"),
            "the inventory has Antminer S19 Pro, the miner says Antminer S19 Pro+ Hyd. (x)",
        ),
    ],
)
def test_another_firmware_or_model_is_a_contradiction_in_the_miners_own_words(
    facts: ModelFacts, told: Told, sentence: str
) -> None:
    assert contradiction(facts, told) == sentence


# --- when to ask ---------------------------------------------------------------------------------------------------

FITS, OTHER = Told("LuxOS", "Antminer S19k Pro", "fits"), Told("VNish", "", "other")


def test_a_miner_is_asked_at_first_contact_and_every_hour() -> None:
    check = IdentityCheck(LUXOS)
    assert check.due(0.0)
    assert check.heard(FITS, 10.0) == ""
    assert [check.due(now_s) for now_s in (10.0, 3_609.0, 3_610.0)] == [False, False, True]


def test_a_miner_that_was_out_of_reach_is_asked_as_it_returns() -> None:
    check = IdentityCheck(LUXOS)
    check.heard(FITS, 10.0)
    check.lost()
    assert check.due(11.0)


def test_a_miner_that_does_not_say_is_asked_again_within_a_minute_and_not_with_every_read() -> None:
    check = IdentityCheck(LUXOS)
    assert check.heard(Told(), 10.0) == ""
    assert [check.due(now_s) for now_s in (11.0, 69.0, 70.0)] == [False, False, True]


def test_a_contradiction_holds_until_the_miner_says_that_it_fits() -> None:
    check = IdentityCheck(LUXOS)
    assert check.heard(OTHER, 10.0) == "the inventory has LuxOS, the miner says VNish (other)"
    assert check.due(10.0), "with every read"
    assert check.heard(Told(), 11.0) == check.sentence != ""
    assert check.due(11.0)
    check.lost()
    assert check.sentence != ""
    assert check.heard(FITS, 12.0) == check.sentence == ""
    assert not check.due(13.0)
