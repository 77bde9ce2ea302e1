"""The WhatsMiner wire of simulated miners over real sockets: shapes of reads, codes, tokens and encryption."""

import json
from importlib import resources

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS, Family, keys_of
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.asic.whatsminer_tokens import TOKEN_LIFE_S, TOKENS_PER_CLIENT
from tests.simulators.shapes import shape
from tests.simulators.whatsminer_client import OK, Tool, outcome, stand

RECORDED = ("devs", "get_error_code", "get_miner_info", "get_psu", "get_version", "pools", "status", "summary")
ADDED = {"HS RT": "number", "MHS 5s": "number", "MHS 1m": "number", "MHS 15m": "number"}


@pytest.mark.parametrize("command", RECORDED)
async def test_a_read_has_the_keys_and_types_of_the_recording(command: str) -> None:
    recorded = json.loads(resources.files("simulators").joinpath(f"data/whatsminer/{command}.json").read_text())
    expected = shape(recorded)
    for key in ("DEVS", "SUMMARY"):
        if key in expected:
            expected[key] = [{**expected[key][0], **ADDED}]
    async with stand("m60s") as site:
        reply = await site.tool().read(command)
    assert shape(reply) == expected


@pytest.mark.parametrize("key", ["m60s", "m50s", "m30spp"])
async def test_a_farm_serves_every_model(key: str) -> None:
    assert key in keys_of(Family.WHATSMINER)
    async with MinerFarm(FleetSpec(models=[MODELS[key]] * 2, seed=1)) as farm:
        tool = Tool(*farm.addresses[1])
        details = (await tool.read("devdetails"))["DEVDETAILS"]
        assert [row["Model"] for row in details] == [MODELS[key].wire_name] * 3
        assert {row["Driver"] for row in details} == {"bitmicro"}
        assert outcome(await tool.order("power_off")) == OK
        assert farm.bank.mode.tolist() == [Mode.HASH, Mode.SLEEP]
        assert farm.miners[1].log.counts == {"devdetails": 1, "get_token": 1, "power_off": 1}


@pytest.mark.parametrize("spelling", ["command", "cmd"])
async def test_the_command_goes_by_two_names(spelling: str) -> None:
    async with stand() as site:
        tool = site.tool()
        assert (await tool.ask({spelling: "status"}))["Code"] == 131
        await tool.log_on()
        sealed = tool.envelope.seal({spelling: "power_off", "respbefore": "true", "token": tool.token})
        assert "enc" in await tool.ask({"enc": 1, "data": sealed})
        assert site.bank.mode[0] == Mode.SLEEP


async def test_reads_tell_what_the_firmware_reports_in_whole_watts() -> None:
    async with stand() as site:
        row = (await site.tool().read("summary"))["SUMMARY"][0]
        assert isinstance(row["Power"], int)
        assert row["Power"] == round(site.bank.reported_power_w[0])
        assert row["Power"] != round(site.bank.true_power_w[0])
        assert row["MHS 1m"] == pytest.approx(186e6, rel=0.01)
        assert row["Power Limit"] == 3441


async def test_several_reads_of_the_mining_process_can_be_joined() -> None:
    async with stand() as site:
        reply = await site.tool().read("summary+devs")
        assert reply["id"] == 1
        assert reply["summary"][0]["SUMMARY"][0]["Power"] > 0
        assert len(reply["devs"][0]["DEVS"]) == 3


@pytest.mark.parametrize("joined", ["summary+status", "get_version+summary", "summary+power_off", "summary+"])
async def test_reads_of_the_daemon_cannot_be_joined(joined: str) -> None:
    async with stand() as site:
        assert outcome(await site.tool().read(joined)) == (45, "command join err")


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"hello\n", (23, "json load err")),
        (b'{"command" "summary"}', (23, "json load err")),
        (b'{"command": 7}', (14, "invalid cmd")),
        (b"{}", (14, "invalid cmd")),
        (b'{"command": "version"}', (14, "invalid cmd")),
        (b'{"command": "open_write_api"}', (14, "invalid cmd")),
        (b'{"command": "power_off"}', (45, "can't access write cmd")),
        (b'{"enc": 1, "data": "?"}', (137, "base64 decode err")),
        (b'{"enc": 1, "data": ""}', (23, "enc json load err")),
        (b'{"enc": 1}', (23, "enc json load err")),
        (b'{"enc": 1, "data": {"a": 1}}', (137, "base64 decode err")),
    ],
)
async def test_what_is_no_command_gets_the_vendors_code(request_bytes: bytes, expected: tuple[int, str]) -> None:
    async with stand() as site:
        reply = json.loads(await site.tool().send(request_bytes))
        assert (reply["STATUS"], *outcome(reply)) == ("E", *expected)
        assert site.bank.mode[0] == Mode.HASH
        assert (await site.tool().read("status"))["Code"] == 131


async def test_a_read_may_come_encrypted_and_is_answered_so() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.log_on()
        assert (await tool.write("summary"))["SUMMARY"][0]["Power"] > 0
        assert (await tool.write("summary+devs"))["id"] == 1
        assert outcome(await tool.write("nonsense")) == (14, "invalid cmd")


async def test_a_write_without_a_live_token_is_refused_in_clear() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.log_on()
        token, tool.token = tool.token, "x" * 22
        assert outcome(await tool.write("power_off")) == (135, "check token err")
        tool.token = token
        site.clock.seconds = TOKEN_LIFE_S
        assert outcome(await tool.write("power_off")) == (135, "check token err")
        assert site.bank.mode[0] == Mode.HASH
        assert outcome(await tool.order("power_off")) == OK


async def test_a_wrong_password_is_no_json_to_the_miner() -> None:
    async with stand() as site:
        assert outcome(await site.tool("wrong").order("power_off")) == (23, "enc json load err")
        assert site.miner.log.writes[-1].command == "enc"
        assert site.bank.mode[0] == Mode.HASH


async def test_the_33rd_token_is_refused_until_one_expires() -> None:
    async with stand() as site:
        tool = site.tool()
        for _ in range(TOKENS_PER_CLIENT):
            assert (await tool.log_on())["Code"] == 134
        assert outcome(await tool.log_on()) == (136, "over max connect")
        assert outcome(await tool.write("power_off")) == OK  # the last one granted is as good as ever
        site.clock.seconds = TOKEN_LIFE_S
        assert (await tool.log_on())["Code"] == 134


@pytest.mark.parametrize("command", ["reboot", "restart_btminer", "set_low_power"])
async def test_a_restart_voids_every_token(command: str) -> None:
    async with stand() as site:
        tool = site.tool()
        assert outcome(await tool.order(command)) == OK
        site.bank.step(200.0)
        assert outcome(await tool.write("power_off")) == (135, "check token err")


async def test_a_changed_password_is_answered_with_the_old_key_and_needs_the_new_one() -> None:
    async with stand() as site:
        tool = site.tool()
        assert outcome(await tool.order("update_pwd", old="nope", new="secret"))[0] == 132
        assert outcome(await tool.order("update_pwd", old="admin", new="secret")) == OK
        assert outcome(await tool.order("power_off")) == (23, "enc json load err")
        assert outcome(await site.tool("secret").order("power_off")) == OK


async def test_port_80_sends_the_browser_elsewhere() -> None:
    async with stand() as site:
        head, _, body = site.miner.web_page.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 307 ")
        assert b"Location: https://127.0.0.1/" in head
        assert b"/cgi-bin/luci" in body
