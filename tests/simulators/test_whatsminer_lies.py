"""What a simulated WhatsMiner tells while, after and instead of doing what it was told."""

from typing import Any

import pytest

from simulators.asic.response import Behaviour, Mode
from simulators.asic.whatsminer_replies import MINEROFF_LAG_S, STALE_POWER_S
from simulators.asic.whatsminer_state import FIRMWARE_OF, Firmware
from tests.simulators.whatsminer_client import Stand, Tool, stand

OK = (131, "API command OK")
DOWN = (132, "btminer process is down")


async def summary(tool: Tool) -> dict[str, Any]:
    row: dict[str, Any] = (await tool.read("summary"))["SUMMARY"][0]
    return row


async def told_off(tool: Tool) -> bool:
    return bool((await tool.read("status"))["Msg"]["mineroff"] == "true")


async def ordered(site: Stand, command: str, seconds: float) -> Tool:
    tool = site.tool()
    reply = await tool.order(command)
    assert (reply["Code"], reply["Msg"]) == OK
    site.bank.step(seconds)
    return tool


async def test_a_sleep_takes_its_time_and_is_told_later_still() -> None:
    async with stand() as site:
        before_w = (await summary(site.tool()))["Power"]
        tool = await ordered(site, "power_off", 0.5)
        assert not await told_off(tool)
        assert site.bank.true_power_w[0] == 3441
        site.bank.step(MINEROFF_LAG_S - 0.4)
        assert await told_off(tool)
        site.bank.step(STALE_POWER_S - MINEROFF_LAG_S - 0.2)
        assert site.bank.true_power_w[0] < 1000
        assert (await summary(tool))["Power"] == before_w
        site.bank.step(5.0)
        row = await summary(tool)
        assert row["Power"] == pytest.approx(25, abs=4)
        assert (row["MHS 1m"], row["HS RT"], row["Power Limit"], row["Hash Stable"]) == (0.0, 0.0, 0, False)


async def test_a_wake_is_told_late_too_and_boots() -> None:
    async with stand(asleep=True) as site:
        tool = await ordered(site, "power_on", 0.5)
        assert await told_off(tool)
        site.bank.step(MINEROFF_LAG_S)
        assert not await told_off(tool)
        assert (await summary(tool))["Power"] < 100
        site.bank.step(120.0)
        assert (await summary(tool))["Power"] == pytest.approx(3441, rel=0.12)
        assert (await summary(tool))["HS RT"] == pytest.approx(186e6, rel=0.03)


async def test_repeating_an_order_tells_nothing_that_was_not_so() -> None:
    async with stand() as site:
        tool = await ordered(site, "power_off", 30.0)
        await tool.write("power_off")
        assert await told_off(tool)
        assert (await summary(tool))["Power"] == pytest.approx(25, abs=4)


@pytest.mark.parametrize("command", ["devs", "edevs", "devdetails", "pools"])
async def test_what_the_mining_process_answers_fails_while_it_is_down(command: str) -> None:
    async with stand(asleep=True) as site:
        reply = await site.tool().read(command)
        assert (reply["Code"], reply["Msg"]) == DOWN
        tool = await ordered(site, "power_on", 1.0)
        assert (await tool.read(command))["STATUS"][0]["STATUS"] == "S"


@pytest.mark.parametrize("command", ["status", "get_version", "get_miner_info", "get_psu", "get_error_code"])
async def test_what_the_daemon_answers_is_there_at_any_time(command: str) -> None:
    async with stand(asleep=True) as site:
        assert (await site.tool().read(command))["Code"] == 131


async def test_why_and_since_when_it_is_off() -> None:
    async with stand() as site:
        awake = (await site.tool().read("status"))["Msg"]
        assert (awake["mineroff_reason"], awake["mineroff_time"]) == ("", "")
        tool = await ordered(site, "power_off", 10.0)
        asleep = (await tool.read("status"))["Msg"]
        assert asleep["mineroff_reason"] == "by whatsminer API"
        assert len(asleep["mineroff_time"]) == len("2026-11-22 10:00:00")


@pytest.mark.parametrize("model", ["m60s", "m50s", "m30spp"])
async def test_versions_differ_in_what_status_tells(model: str) -> None:
    firmware = FIRMWARE_OF[model]
    async with stand(model) as site:
        told = (await site.tool().read("status"))["Msg"]
        assert set(told) == firmware.status_keys
        assert told["FirmwareVersion"] == firmware.version
        assert told["power_mode"] == ("normal" if firmware.tells_modes else "")
        assert (await site.tool().read("get_version"))["Msg"]["fw_ver"] == firmware.version


@pytest.mark.parametrize(("model", "asleep_w"), [("m60s", 25), ("m50s", 25), ("m30spp", -1)])
async def test_some_versions_have_no_watts_for_a_miner_that_is_off(model: str, asleep_w: int) -> None:
    async with stand(model) as site:
        tool = await ordered(site, "power_off", 30.0)
        assert (await summary(tool))["Power"] == pytest.approx(asleep_w, abs=4 if asleep_w > 0 else 0)
        await tool.write("power_on")
        assert (await summary(tool))["Power"] >= 20


async def test_the_version_can_be_chosen() -> None:
    async with stand("m60s", asleep=True, firmware=Firmware("x", tells_standby_w=False)) as site:
        assert (await summary(site.tool()))["Power"] == -1


async def test_a_liar_says_it_is_off_and_its_watts_say_otherwise() -> None:
    async with stand(behaviour=Behaviour.LIAR_SLEEP) as site:
        tool = await ordered(site, "power_off", 60.0)
        assert await told_off(tool)
        row = await summary(tool)
        assert row["Power"] > 3000
        assert row["HS RT"] > 180e6
        assert (await tool.read("devdetails"))["DEVDETAILS"]


async def test_who_never_wakes_says_it_is_on_and_draws_nothing() -> None:
    async with stand(behaviour=Behaviour.NEVER_WAKES, asleep=True) as site:
        tool = await ordered(site, "power_on", 300.0)
        assert not await told_off(tool)
        row = await summary(tool)
        assert row["Power"] < 100
        assert row["HS RT"] == 0.0


async def test_who_ignores_an_order_goes_on_telling_what_is_so() -> None:
    async with stand(behaviour=Behaviour.IGNORES) as site:
        tool = await ordered(site, "power_off", 0.5)
        for _ in range(3):
            assert not await told_off(tool)
            assert (await summary(tool))["Power"] > 3000
            site.bank.step(5.0)
        reply = await tool.write("update_pwd", old="admin", new="other")
        assert reply["Code"] == 131
        assert (await tool.write("power_off"))["Code"] == 131  # the key is the old one


async def test_who_revives_hashes_again_by_itself_and_says_so() -> None:
    async with stand(behaviour=Behaviour.REVIVES) as site:
        tool = await ordered(site, "power_off", 7.0)
        assert await told_off(tool)
        site.bank.step(120.0)
        assert site.bank.mode[0] == Mode.HASH
        assert not await told_off(tool)
        assert (await summary(tool))["Power"] > 3000


async def test_a_silent_draw_shows_in_nothing_but_the_truth() -> None:
    async with stand(behaviour=Behaviour.SILENT_DRAW) as site:
        tool = await ordered(site, "power_off", 60.0)
        assert await told_off(tool)
        row = await summary(tool)
        assert row["Power"] < 100
        assert row["HS RT"] == 0.0
        assert site.bank.true_power_w[0] > 3000


async def test_a_restart_ends_what_lags() -> None:
    async with stand() as site:
        tool = await ordered(site, "power_off", 0.5)
        await tool.write("restart_btminer")
        assert not await told_off(tool)
        assert (await summary(tool))["Power Limit"] == 3441
        site.bank.step(200.0)
        assert (await summary(tool))["Power"] > 3000


async def ages(tool: Tool) -> tuple[int, int]:
    row = await summary(tool)
    return row["Elapsed"], row["Uptime"]


async def test_elapsed_is_the_age_of_the_process_and_uptime_that_of_the_board() -> None:
    async with stand() as site:
        elapsed_s, uptime_s = await ages(site.tool())
        assert elapsed_s == uptime_s >= 3600
        tool = await ordered(site, "power_off", 30.0)
        assert await ages(tool) == (0, uptime_s + 30)
        site.bank.step(30.0)
        await ordered(site, "power_on", 20.0)
        assert await ages(tool) == (20, uptime_s + 80)
        await ordered(site, "restart_btminer", 100.0)
        assert await ages(tool) == (100, uptime_s + 180)
        await ordered(site, "set_low_power", 100.0)
        assert await ages(tool) == (100, uptime_s + 280)
        await ordered(site, "reboot", 300.0)
        assert await ages(tool) == (300, 300)


async def test_a_reboot_nobody_asked_it_for_is_noticed_by_its_clock() -> None:
    async with stand() as site:
        tool = await ordered(site, "set_led", 1.0)
        site.bank.reboot(0)
        site.bank.step(300.0)
        assert await ages(tool) == (300, 300)
        assert (await tool.write("power_off"))["Code"] == 135


@pytest.mark.parametrize(
    ("command", "arguments"), [("set_low_power", {}), ("adjust_power_limit", {"power_limit": "2000"})]
)
async def test_a_sleeper_that_is_reconfigured_sleeps_on_and_wakes_as_configured(
    command: str, arguments: dict[str, object]
) -> None:
    async with stand(asleep=True) as site:
        tool = site.tool()
        assert (await tool.order(command, **arguments))["Code"] == 131
        site.bank.step(100.0)
        assert site.bank.is_asleep[0]
        assert await told_off(tool)
        await ordered(site, "power_on", 200.0)
        assert site.rung == ("75" if command == "set_low_power" else "55")
