"""A LuxOS miner that turns out to be another machine is parked, one that says nothing of itself is not."""

from __future__ import annotations

from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from drivers.asic.profiles import LadderUnreadableError

ANOTHER_MODEL = "the inventory has Antminer S19k Pro, the miner says Antminer T21 (Antminer T21, LUXminer)"
ANOTHER_FIRMWARE = "the inventory has LuxOS, the miner says Antminer stock (Antminer S19k Pro, BMMiner)"


@pytest.fixture
def impostor(script: Any) -> Any:
    """A scripted miner that reads like a sound S19k Pro and says it is a T21."""

    def joined(section: str, **fields: object) -> list[dict[str, Any]]:
        return [script.ok(**{section: [fields]})]

    script.answers["power+summary+config"] = {
        "power": joined("POWER", Watts=2_800),
        "summary": joined("SUMMARY", **{"GHS 5s": 120_000.0}),
        "config": joined("CONFIG", Profile="default", CurtailMode="None", IsPowerSupplyOn=True, IsAtmEnabled=False),
        "id": 1,
    }
    script.answers["version"] = script.ok(VERSION=[{"LUXminer": "2025.4.8", "Type": "Antminer T21"}])
    return script


def becomes_sound(script: Any) -> None:
    """From now on it says what the inventory has."""
    script.answers["version"] = script.ok(VERSION=[{"LUXminer": "2025.4.8", "Type": "Antminer S19k Pro"}])


async def test_a_sound_miner_is_asked_once(impostor: Any) -> None:
    becomes_sound(impostor)
    miner = impostor.ours()
    for _ in range(3):
        assert (await miner.read()).condition is Condition.HASHING
    assert impostor.commands().count("version") == 1


async def test_another_model_reads_as_a_contradiction_with_nothing_to_give_back(impostor: Any) -> None:
    reading = await impostor.ours().read()
    assert (reading.condition, reading.detail) == (Condition.CONTRADICTS, ANOTHER_MODEL)
    assert (reading.level, reading.prior, reading.power_w) == (None, None, 2_800.0)


async def test_another_firmware_reads_as_a_contradiction_even_where_it_refuses_our_question(impostor: Any) -> None:
    impostor.answers["power+summary+config"] = impostor.error(14, "Invalid command")
    impostor.answers["version"] = impostor.ok(VERSION=[{"BMMiner": "1.0.0", "Type": "Antminer S19k Pro"}])
    reading = await impostor.ours().read()
    assert (reading.condition, reading.detail) == (Condition.CONTRADICTS, ANOTHER_FIRMWARE)


async def test_nothing_is_asked_of_a_miner_that_contradicts(impostor: Any) -> None:
    miner = impostor.ours()
    await miner.read()
    impostor.requests.clear()
    for command in (impostor.SLEEP, impostor.SHED, impostor.WAKE, impostor.trim(3), impostor.trim(3, raises=True)):
        report = await miner.perform(command)
        assert (report.outcome, report.sent_at, report.detail) == (Outcome.WITHHELD, None, ANOTHER_MODEL)
    assert (await miner.restore("default")).outcome is Outcome.WITHHELD
    with pytest.raises(LadderUnreadableError, match=r"rack-1/0: the inventory has Antminer S19k Pro"):
        await miner.read_ladder()
    assert set(impostor.commands()) == {"version"}


async def test_a_contradiction_ends_with_the_first_read_that_fits(impostor: Any) -> None:
    miner = impostor.ours()
    await miner.read()
    becomes_sound(impostor)
    reading = await miner.read()
    assert (reading.condition, reading.prior) == (Condition.HASHING, "default")
    assert (await miner.perform(impostor.SHED)).outcome is Outcome.ACKNOWLEDGED


async def test_a_miner_put_in_anothers_place_is_found_out_at_its_first_read(impostor: Any) -> None:
    becomes_sound(impostor)
    miner = impostor.ours(0.25)
    await miner.read()
    sound = impostor.answers["power+summary+config"]
    impostor.answers["power+summary+config"] = None
    assert (await miner.read()).condition is Condition.UNREACHABLE
    impostor.answers["power+summary+config"] = sound
    impostor.answers["version"] = impostor.ok(VERSION=[{"LUXminer": "2025.4.8", "Type": "Antminer T21"}])
    assert (await miner.read()).condition is Condition.CONTRADICTS


async def test_a_miner_that_contradicted_and_is_silent_now_is_unreachable(impostor: Any) -> None:
    miner = impostor.ours(0.25)
    await miner.read()
    impostor.answers["power+summary+config"] = None
    assert (await miner.read()).condition is Condition.UNREACHABLE
    assert (await miner.perform(impostor.SHED)).outcome is Outcome.WITHHELD, "it has not said otherwise"


async def test_a_shed_never_waits_for_the_question_and_a_wake_does(impostor: Any) -> None:
    assert (await impostor.ours().perform(impostor.SHED)).outcome is Outcome.ACKNOWLEDGED
    assert "version" not in impostor.commands()
    impostor.requests.clear()
    assert (await impostor.ours().perform(impostor.WAKE)).outcome is Outcome.WITHHELD
    assert impostor.commands() == ["version"]


@pytest.mark.parametrize("silence", [None, b"", b"{", {"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "?"}]}])
async def test_a_miner_that_does_not_say_who_it_is_is_driven_all_the_same(impostor: Any, silence: Any) -> None:
    impostor.answers["version"] = silence
    miner = impostor.ours(0.25)
    assert (await miner.read()).condition is Condition.HASHING
    assert (await miner.perform(impostor.WAKE)).outcome is Outcome.APPLIED
    assert impostor.commands().count("version") == 1
