"""Writes to simulated WhatsMiners over real sockets: what the device then does, what it keeps, and its faults."""

import pytest

from simulators.asic.response import Behaviour, Mode
from simulators.faults import Fault
from tests.simulators.whatsminer_client import OK, outcome, stand


@pytest.mark.parametrize("command", ["set_power_pct", "set_power_pct_v2"])
async def test_a_percent_moves_the_power_without_a_restart(command: str) -> None:
    async with stand() as site:
        uptime_s = site.bank.uptime_s[0]
        assert outcome(await site.tool().order(command, percent="60")) == OK
        site.bank.step(30.0)
        assert site.rung == "60"
        assert site.bank.true_power_w[0] == pytest.approx(0.6 * 3441, abs=1)
        assert site.bank.uptime_s[0] > uptime_s


@pytest.mark.parametrize(
    ("percent", "rung"), [("100", "100"), (100, "100"), ("0", "40"), ("63", "65"), ("62", "60"), ("41", "40")]
)
async def test_a_percent_is_text_or_number_and_goes_to_the_nearest_rung(percent: object, rung: str) -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.order("set_power_pct", percent="80")
        assert outcome(await tool.write("set_power_pct", percent=percent)) == OK
        assert site.rung == rung


@pytest.mark.parametrize("percent", ["101", "-1", "x", "", None, 50.5, True, "9" * 4_400])
async def test_a_percent_that_is_none_is_refused(percent: object) -> None:
    async with stand() as site:
        assert outcome(await site.tool().order("set_power_pct", percent=percent))[0] == 132
        assert site.rung == "100"


async def test_a_percent_shows_nowhere_but_in_the_watts() -> None:
    async with stand() as site:
        tool = site.tool()
        before = (await tool.read("status"))["Msg"]
        await tool.order("set_power_pct", percent="40")
        site.bank.step(30.0)
        assert (await tool.read("status"))["Msg"] == before
        row = (await tool.read("summary"))["SUMMARY"][0]
        assert row["Power Limit"] == 3441
        assert row["Power"] < 1500


@pytest.mark.parametrize("command", ["reboot", "restart_btminer"])
async def test_a_percent_is_lost_when_the_mining_process_starts_anew(command: str) -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.order("set_power_pct", percent="40")
        site.bank.step(30.0)
        assert outcome(await tool.write(command)) == OK
        site.bank.step(300.0)
        assert site.rung == "100"
        assert site.bank.true_power_w[0] == pytest.approx(3441, abs=1)


async def test_a_percent_is_lost_in_a_sleep_and_refused_until_boards_are_up() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.order("set_power_pct", percent="40")
        await tool.write("power_off")
        site.bank.step(20.0)
        assert outcome(await tool.write("set_power_pct", percent="50")) == (132, "btminer process is down")
        assert outcome(await tool.write("power_on")) == OK
        assert outcome(await tool.write("set_power_pct", percent="50")) == (132, "btminer process is down")
        site.bank.step(120.0)
        assert site.rung == "100"
        assert outcome(await tool.write("set_power_pct", percent="50")) == OK


@pytest.mark.parametrize(
    ("command", "arguments", "rung", "limit_w", "mode"),
    [
        ("set_low_power", {}, "75", 2581, "Low"),
        ("set_high_power", {}, "100", 3441, "High"),
        ("set_normal_power", {}, "100", 3441, "Normal"),
        ("adjust_power_limit", {"power_limit": "3000"}, "85", 3000, "Normal"),
        ("adjust_power_limit", {"power_limit": 100}, "40", 100, "Normal"),
    ],
)
async def test_modes_and_limits_restart_the_mining_process_and_last(
    command: str, arguments: dict[str, object], rung: str, limit_w: int, mode: str
) -> None:
    async with stand() as site:
        tool = site.tool()
        assert outcome(await tool.order(command, **arguments)) == OK
        site.bank.step(1.0)
        assert site.bank.true_power_w[0] < 200.0
        assert outcome(await tool.order("reboot")) == OK
        site.bank.step(300.0)
        assert site.rung == rung
        row = (await tool.read("summary"))["SUMMARY"][0]
        assert (row["Power Limit"], row["Power Mode"]) == (limit_w, mode)


@pytest.mark.parametrize("limit", ["3442", "x", "-5", None])
async def test_a_limit_above_the_ordinary_power_is_refused(limit: object) -> None:
    async with stand() as site:
        assert outcome(await site.tool().order("adjust_power_limit", power_limit=limit))[0] == 132
        assert site.bank.boards_on[0]


async def test_a_percent_is_one_of_the_limit() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.order("set_low_power")
        site.bank.step(200.0)
        await tool.order("set_power_pct", percent="80")
        assert site.rung == "60"
        assert outcome(await tool.write("restore_power_pct")) == OK
        assert site.rung == "75"


async def test_pools_hostname_and_led_are_kept() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.order("update_pools", pool1="stratum+tcp://a:1", worker1="w", passwd1="x")
        await tool.write("set_hostname", hostname="row-7")
        await tool.write("set_led", color="red", period=200, duration=100, start=0)
        first, second, _ = (await tool.read("pools"))["POOLS"]
        assert (first["URL"], first["User"], second["URL"]) == ("stratum+tcp://a:1", "w", "")
        info = (await tool.read("get_miner_info"))["Msg"]
        assert (info["hostname"], info["ledstat"]) == ("row-7", "manual")
        await tool.write("set_led", param="auto")
        assert (await tool.read("get_miner_info"))["Msg"]["ledstat"] == "auto"


async def test_the_log_knows_what_was_inside_and_which_way_it_points() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.order("set_power_pct", percent="60")
        await tool.write("set_power_pct", percent="60")
        await tool.write("set_power_pct", percent="80")
        await tool.write("power_off", respbefore="true")
        await tool.write("power_on")
        await tool.write("set_led", param="auto")
        writes = [(record.command, record.parameter, record.raises) for record in site.miner.log.writes]
        assert writes == [
            ("set_power_pct", "percent=60", False),
            ("set_power_pct", "percent=60", None),
            ("set_power_pct", "percent=80", True),
            ("power_off", "respbefore=true", False),
            ("power_on", "", True),
            ("set_led", "param=auto", None),
        ]
        assert [record.command for record in site.miner.log.reads] == ["get_token"]


@pytest.mark.parametrize("command", ["power_off", "set_power_pct", "set_led"])
async def test_closed_writes_are_refused_after_the_token(command: str) -> None:
    async with stand(behaviour=Behaviour.REFUSES) as site:
        tool = site.tool()
        assert outcome(await tool.order(command, percent="40")) == (45, "can't access write cmd")
        assert site.bank.mode[0] == Mode.HASH
        assert site.rung == "100"


@pytest.mark.parametrize(
    ("fault", "token_code", "write"),
    [
        (Fault.WRONG_PASSWORD, 134, (23, "enc json load err")),
        (Fault.SESSION_ERROR, 134, (135, "check token err")),
        (Fault.DEVICE_ERROR, 132, (132, "API command ERROR")),
        (Fault.TOKENS_FULL, 136, OK),
        (Fault.FOREIGN_SESSION, 136, (135, "check token err")),
        (Fault.STALE_SESSION, 134, (135, "check token err")),
    ],
)
async def test_a_fault_of_the_session(fault: Fault, token_code: int, write: tuple[int, str]) -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.log_on()
        site.faults.on(fault)
        assert outcome(await tool.write("power_off")) == write
        assert site.bank.mode[0] == (Mode.SLEEP if write == OK else Mode.HASH)
        assert (await tool.log_on())["Code"] == token_code
        site.faults.off(fault)
        assert outcome(await tool.order("power_off")) == OK


@pytest.mark.parametrize(
    ("fault", "expected", "obeyed"),
    [(Fault.IGNORE, OK, False), (Fault.OBEY_WITH_ERROR, (132, "API command ERROR"), True)],
)
async def test_a_fault_of_obedience(fault: Fault, expected: tuple[int, str], obeyed: bool) -> None:
    async with stand() as site:
        tool = site.tool()
        site.faults.on(fault)
        assert outcome(await tool.order("set_power_pct", percent="40")) == expected
        assert outcome(await tool.write("set_hostname", hostname="x")) == expected
        assert outcome(await tool.write("power_off")) == expected
        site.bank.step(20.0)
        assert bool(site.bank.is_asleep[0]) is obeyed
        assert (site.hostname == "x") is obeyed


async def test_a_write_can_make_it_reboot_and_be_lost() -> None:
    async with stand() as site:
        tool = site.tool()
        await tool.log_on()
        site.faults.on(Fault.REBOOT_ON_WRITE)
        with pytest.raises(ConnectionResetError):
            await tool.write("power_off")
        assert site.bank.is_rebooting[0]
        assert site.bank.mode[0] == Mode.HASH
        assert [record.command for record in site.miner.log.writes] == ["power_off"]
        site.faults.clear()
        site.bank.step(300.0)
        assert outcome(await tool.write("power_off")) == (135, "check token err")
