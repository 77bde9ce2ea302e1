"""The LuxOS wire of simulated miners, byte by byte over real sockets."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

import numpy as np
import pytest

from simulators.asic.farm import MinerFarm, VendorPorts
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour, Mode
from simulators.asic.spec import FleetSpec

MODEL = MODELS["s19kpro"]
RECORDED = ("config", "devs", "fans", "pools", "power", "profiles", "stats", "summary", "temps", "version")
SESSION_TTL_S = 0.25


@pytest.fixture
async def farm() -> AsyncIterator[MinerFarm]:
    spec = FleetSpec(models=[MODEL] * 2, seed=11, behaviours=[Behaviour.OBEYS, Behaviour.REFUSES])
    async with MinerFarm(spec, session_ttl_s=SESSION_TTL_S) as running:
        yield running


async def exchange(farm: MinerFarm, request: bytes, miner: int = 0, *, end: bool = False) -> bytes:
    """Send raw bytes, return all the miner sent until it closed."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*farm.addresses[miner])
        writer.write(request)
        if end:
            writer.write_eof()
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return data


async def ask(farm: MinerFarm, command: str, parameter: str | None = None, miner: int = 0) -> dict[str, Any]:
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    reply: dict[str, Any] = json.loads(await exchange(farm, json.dumps(request).encode(), miner))
    return reply


async def is_refused(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def logon(farm: MinerFarm, miner: int = 0) -> str:
    session_id: str = (await ask(farm, "logon", miner=miner))["SESSION"][0]["SessionID"]
    return session_id


def outcome(reply: dict[str, Any]) -> tuple[str, int]:
    return reply["STATUS"][0]["STATUS"], reply["STATUS"][0]["Code"]


def shape(value: Any) -> Any:
    """Keys and types, lists by their first entry; whole and broken numbers count as the same."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.parametrize("command", RECORDED)
async def test_a_read_has_the_keys_types_and_status_code_of_the_recording(farm: MinerFarm, command: str) -> None:
    recorded = json.loads(resources.files("simulators").joinpath(f"data/luxminer/{command}.json").read_text())
    reply = await ask(farm, command)
    assert shape(reply) == shape(recorded)
    assert outcome(reply) == outcome(recorded)
    assert [len(reply[key]) for key in sorted(reply) if key != "id"] == [
        len(recorded[key]) for key in sorted(recorded) if key != "id"
    ]


async def test_the_profiles_of_the_recorded_model_are_the_recorded_ones(farm: MinerFarm) -> None:
    recorded = json.loads(resources.files("simulators").joinpath("data/luxminer/profiles.json").read_text())
    untuned = [{**row, "IsTuned": False} for row in recorded["PROFILES"]]
    assert (await ask(farm, "profiles"))["PROFILES"] == untuned


@pytest.mark.parametrize("board", ["0", "1", "2"])
async def test_voltageget_answers_for_every_board_as_recorded(farm: MinerFarm, board: str) -> None:
    recorded = json.loads(resources.files("simulators").joinpath(f"data/luxminer/voltageget_{board}.json").read_text())
    reply = await ask(farm, "voltageget", board)
    assert shape(reply) == shape(recorded)
    assert reply["VOLTAGE"][0]["Board"] == int(board)


@pytest.mark.parametrize("board", ["3", "-1", "x", ""])
async def test_voltageget_of_a_board_that_is_not_there_is_an_error(farm: MinerFarm, board: str) -> None:
    assert outcome(await ask(farm, "voltageget", board))[0] == "E"


async def test_reads_tell_what_the_firmware_reports_not_the_truth(farm: MinerFarm) -> None:
    power_w = (await ask(farm, "power"))["POWER"][0]["Watts"]
    reported_w = farm.bank.reported_power_w[0]
    assert power_w == pytest.approx(reported_w, rel=0.03)  # a refresh may lie in between
    assert abs(power_w - MODEL.nameplate.power_w * (1 + farm.bank.report_bias[0])) < 0.03 * power_w


async def test_several_commands_in_one_request_answer_under_their_names(farm: MinerFarm) -> None:
    reply = await ask(farm, "power+summary+nonsense")
    assert reply["id"] == 1
    assert reply["power"][0]["POWER"][0]["Watts"] > 0
    assert reply["summary"][0]["SUMMARY"][0]["GHS 5s"] > 0
    assert outcome(reply["nonsense"][0]) == ("E", 14)


async def test_several_commands_with_a_parameter_are_an_invalid_command(farm: MinerFarm) -> None:
    assert outcome(await ask(farm, "power+summary", "1")) == ("E", 14)


async def test_an_unknown_command_is_refused_as_cgminer_does(farm: MinerFarm) -> None:
    reply = await ask(farm, "selfdestruct")
    assert outcome(reply) == ("E", 14)
    assert reply["STATUS"][0]["Description"].startswith("LUXminer ")


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"hello\n", 23),
        (b"\xff\xfe\x00\x01", 23),
        (b'{"command" "version"}', 23),
        (b'{"command": 7}', 24),
        (b'{"comand": "version"}', 24),
        (b'{"a":' + b"[" * 4_000, 23),
        (b'{"command": "' + b"x" * 9_000, 23),
    ],
)
async def test_bytes_that_are_no_request_get_an_error_and_hurt_nobody(
    farm: MinerFarm, request_bytes: bytes, code: int
) -> None:
    reply = json.loads(await exchange(farm, request_bytes, end=True))
    assert outcome(reply) == ("E", code)
    assert outcome(await ask(farm, "version")) == ("S", 22)


async def test_a_request_may_arrive_in_pieces_and_end_with_a_newline(farm: MinerFarm) -> None:
    reader, writer = await asyncio.open_connection(*farm.addresses[0])
    for byte in b'{"command": "version"}\n':
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert json.loads(await reader.read())["VERSION"][0]["Type"] == "Antminer S19k Pro"
    writer.close()


async def test_clients_that_go_away_in_the_middle_hurt_nobody(farm: MinerFarm) -> None:
    for sent in (b"", b'{"comm', b'{"command": "stats"}'):
        _, writer = await asyncio.open_connection(*farm.addresses[0])
        writer.write(sent)
        writer.transport.abort()
    assert outcome(await ask(farm, "version")) == ("S", 22)


async def test_only_one_session_exists_and_session_shows_it(farm: MinerFarm) -> None:
    assert (await ask(farm, "session"))["SESSION"][0]["SessionID"] == ""
    session_id = await logon(farm)
    assert len(session_id) == 8
    assert (await ask(farm, "session"))["SESSION"][0]["SessionID"] == session_id
    assert outcome(await ask(farm, "logon")) == ("E", 402)
    assert outcome(await ask(farm, "logoff", session_id))[0] == "S"
    assert (await ask(farm, "session"))["SESSION"][0]["SessionID"] == ""
    assert await logon(farm) != session_id


async def test_a_session_dies_of_idleness_and_lives_by_use(farm: MinerFarm) -> None:
    session_id = await logon(farm)
    for _ in range(4):
        await asyncio.sleep(SESSION_TTL_S * 0.4)
        assert outcome(await ask(farm, "atmset", f"{session_id},enabled=true"))[0] == "S"
    await asyncio.sleep(SESSION_TTL_S * 1.2)
    assert outcome(await ask(farm, "curtail", f"{session_id},sleep"))[0] == "E"
    assert farm.bank.mode[0] == Mode.HASH
    assert (await ask(farm, "session"))["SESSION"][0]["SessionID"] == ""


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


async def test_a_farm_that_ended_listens_no_more() -> None:
    async with MinerFarm(FleetSpec(models=[MODEL], seed=1)) as farm:
        address = farm.addresses[0]
        assert outcome(await ask(farm, "version"))[0] == "S"
    assert await is_refused(*address)


async def test_a_farm_whose_physics_broke_goes_dark_and_says_why() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        async with MinerFarm(FleetSpec(models=[MODEL] * 2, seed=1), tick_s=0.01) as farm:
            farm.bank.temperature_c = np.zeros(7)  # a bug: an array of another size
            async with asyncio.timeout(5):
                await farm.wait_broken()
            assert await is_refused(*farm.addresses[0])


async def test_a_hundred_miners_answer_at_once() -> None:
    async with MinerFarm(FleetSpec(models=[MODEL] * 100, seed=1)) as farm:
        replies = await asyncio.gather(*(ask(farm, "config", miner=i) for i in range(100)))
    assert len({reply["CONFIG"][0]["MACAddr"] for reply in replies}) == 100


def test_vendor_ports_stay_on_this_machine_and_need_room() -> None:
    with pytest.raises(ValueError, match=r"outside 127\.0\.0\.0/8"):
        VendorPorts(ipaddress.IPv4Network("192.168.1.0/24"))
    with pytest.raises(ValueError, match="2 addresses for 3 miners"):
        VendorPorts(ipaddress.IPv4Network("127.9.9.0/30")).hosts(3)
