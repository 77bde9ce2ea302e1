"""Writes to simulated LuxOS miners over real sockets: what they do, what is refused, what the log knows."""

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from tests.simulators.luxos_client import MODEL, ask, exchange, logon, outcome


@pytest.mark.parametrize(
    "write", [("curtail", "sleep"), ("profileset", "190MHz"), ("atmset", "enabled=false"), ("rebootdevice", "")]
)
async def test_a_write_without_a_live_session_is_refused_and_changes_nothing(
    farm: MinerFarm, write: tuple[str, str]
) -> None:
    command, argument = write
    for session_id in ("", "nosuchid"):
        assert outcome(await ask(farm, command, f"{session_id},{argument}"))[0] == "E"
    assert farm.bank.mode[0] == Mode.HASH
    assert farm.bank.profile_index[0] == MODEL.default_profile
    assert not farm.bank.is_rebooting[0]
    assert farm.miners[0].settings.atm_enabled


async def test_sleep_and_wakeup_move_the_bank_and_show_in_the_configuration(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    reply = await ask(farm, "curtail", f"{session_id},sleep")
    assert reply["CURTAIL"] == [{"Action": "sleep mode"}]
    assert outcome(reply) == ("S", 335)
    assert (await ask(farm, "config"))["CONFIG"][0]["CurtailMode"] == "Sleep"
    farm.bank.step(10.0)
    assert (await ask(farm, "config"))["CONFIG"][0]["IsPowerSupplyOn"] is False

    session_id = (await ask(farm, "session"))["SESSION"][0]["SessionID"] or await logon(farm)
    reply = await ask(farm, "curtail", f"{session_id},wakeup")
    assert reply["CURTAIL"] == [{"Action": "wake up"}]
    assert (await ask(farm, "config"))["CONFIG"][0]["CurtailMode"] == "None"


async def test_curtail_with_another_word_is_refused(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    assert outcome(await ask(farm, "curtail", f"{session_id},nap"))[0] == "E"
    assert outcome(await ask(farm, "curtail", session_id))[0] == "E"
    assert farm.bank.mode[0] == Mode.HASH


@pytest.mark.parametrize("argument", ["290MHz", "0,290MHz"])
async def test_profileset_takes_a_name_with_or_without_the_old_board_number(farm: MinerFarm, argument: str) -> None:
    session_id = await logon(farm)
    reply = await ask(farm, "profileset", f"{session_id},{argument}")
    assert reply["PROFILE"][0]["Profile"] == "290MHz"
    config = (await ask(farm, "config"))["CONFIG"][0]
    assert (config["Profile"], config["ProfileStep"]) == ("290MHz", "-12")


async def test_profileset_of_a_name_that_is_not_on_the_ladder_is_refused(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    assert outcome(await ask(farm, "profileset", f"{session_id},291MHz"))[0] == "E"
    assert farm.bank.profile_index[0] == MODEL.default_profile


async def test_atmset_switches_thermal_management_and_refuses_nonsense(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    assert outcome(await ask(farm, "atmset", f"{session_id},enabled=false")) == ("S", 340)
    assert (await ask(farm, "atm"))["ATM"][0]["Enabled"] is False
    assert (await ask(farm, "config"))["CONFIG"][0]["IsAtmEnabled"] is False
    assert outcome(await ask(farm, "atmset", f"{session_id},enabled=maybe"))[0] == "E"


async def test_a_refuser_gives_a_session_and_then_an_error_to_every_write(farm: MinerFarm) -> None:
    session_id = await logon(farm, miner=1)
    for command, argument in (("curtail", "sleep"), ("profileset", "190MHz"), ("atmset", "enabled=false")):
        assert outcome(await ask(farm, command, f"{session_id},{argument}", miner=1)) == ("E", 45)
    assert farm.bank.mode[1] == Mode.HASH


async def test_a_rebooting_miner_drops_connections_and_its_session(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    assert outcome(await ask(farm, "rebootdevice", session_id))[0] == "S"
    with pytest.raises(ConnectionError):
        await exchange(farm, b'{"command": "version"}')
    assert farm.miners[0].session.active_id == ""


async def test_the_wire_log_knows_every_command_and_when_the_first_write_came(farm: MinerFarm) -> None:
    log = farm.miners[0].log
    assert log.writes == []
    before_s = log.now_s()
    session_id = await logon(farm)
    await ask(farm, "curtail", f"{session_id},sleep")
    await ask(farm, "power+summary")
    assert log.counts == {"logon": 1, "curtail": 1, "power": 1, "summary": 1}
    assert [(record.command, record.parameter) for record in log.writes] == [("curtail", f"{session_id},sleep")]
    seen_s = log.writes[0].at_s
    assert before_s <= seen_s <= log.now_s()
    assert farm.first_write_after(before_s) == seen_s
    assert farm.first_write_after(log.now_s()) is None
    first = log.reads[0]
    assert first.command == "logon"
    assert before_s <= first.at_s <= seen_s


async def test_the_wire_log_knows_which_writes_ask_for_more_and_which_for_less(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    arguments = ["default", "190MHz", "190MHz", "default", "nonsense", "sleep", "wakeup", "nap"]
    for argument in arguments:
        command = "curtail" if argument in ("sleep", "wakeup", "nap") else "profileset"
        await ask(farm, command, f"{session_id},{argument}")
    await ask(farm, "atmset", f"{session_id},enabled=true")
    found = [record.raises for record in farm.miners[0].log.writes]
    assert found == [None, False, None, True, None, False, True, None, None]


async def test_a_hook_hears_every_command_with_its_miner() -> None:
    heard: list[tuple[int, str]] = []
    spec = FleetSpec(models=[MODEL] * 2, seed=1)
    async with MinerFarm(spec, on_record=lambda i, record: heard.append((i, record.command))) as farm:
        await ask(farm, "version", miner=1)
        await ask(farm, "power", miner=0)
    assert heard == [(1, "version"), (0, "power")]
