"""The LuxOS wire of simulated miners, byte by byte over real sockets: reads, requests and sessions."""

import asyncio
import json
from importlib import resources

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.response import Mode
from tests.simulators.luxos.conftest import SESSION_TTL_S
from tests.simulators.luxos_client import MODEL, ask, exchange, logon, outcome
from tests.simulators.shapes import shape

RECORDED = ("config", "devs", "fans", "pools", "power", "profiles", "stats", "summary", "temps", "version")


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
