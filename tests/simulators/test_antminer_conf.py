"""What a write of a simulated stock Antminer's configuration keeps and loses, and reads that must prevent one."""

import asyncio
import json
from typing import Any

import pytest

from simulators.asic.antminer import ConfRead, StockTraits
from simulators.asic.antminer_conf import Unsent
from tests.simulators.antminer_client import CONF_KEYS, LOW_POWER, SLEEP, Stock, stock

KEPT = StockTraits(unsent=Unsent.KEPT)
OK = {"stats": "success", "code": "M000", "msg": "OK!"}


async def sent(miner: Stock, body: object) -> dict[str, Any]:
    answer: dict[str, Any] = (await miner.script("set_miner_conf", body)).json()
    return answer


async def begun(miner: Stock) -> asyncio.Task[dict[str, Any]]:
    """An order to sleep that the miner has begun to carry out."""
    slow = asyncio.create_task(miner.set_mode(1))
    async with asyncio.timeout(5):
        while not miner.miner.is_writing:  # noqa: ASYNC110 - the condition is in another's hands: ask again
            await asyncio.sleep(0.005)
    return slow


async def test_a_write_of_everything_gives_the_same_bytes_back() -> None:
    async with stock() as miner:
        before = (await miner.script("get_miner_conf")).content
        assert await miner.set_mode(1) == OK
        asleep = (await miner.script("get_miner_conf")).content
        assert asleep == before.replace(b'work-mode" : "0"', b'work-mode" : "1"')
        assert await miner.set_mode(0) == OK
        assert (await miner.script("get_miner_conf")).content == before
        assert (miner.miner.config_writes, miner.miner.restarts) == (2, 2)


async def test_the_names_for_reading_are_not_the_names_for_writing() -> None:
    async with stock(KEPT) as miner:
        assert await sent(miner, {"bitmain-work-mode": "1", "bitmain-freq-level": "50"}) == OK
        conf = await miner.conf()
        assert (conf["bitmain-work-mode"], conf["bitmain-freq-level"]) == ("0", "95")
        assert await sent(miner, {"miner-mode": "1", "freq-level": 90}) == OK
        conf = await miner.conf()
        assert (conf["bitmain-work-mode"], conf["bitmain-freq-level"]) == ("1", "90")


async def test_what_is_not_sent_is_lost() -> None:
    async with stock() as miner:
        assert await sent(miner, {"miner-mode": 1}) == OK
        conf = await miner.conf()
        assert conf["pools"] == [{"url": "", "user": "", "pass": ""}] * 3
        assert (conf["bitmain-freq-level"], conf["bitmain-fan-pwm"]) == ("100", "100")


async def test_what_is_not_sent_is_kept_by_another_version() -> None:
    async with stock(KEPT) as miner:
        before = await miner.conf()
        pool = {"url": "stratum+tcp://pool-c.invalid:3333", "user": "w"}
        assert await sent(miner, {"miner-mode": 1, "pools": [{}, pool]}) == OK
        conf = await miner.conf()
        assert conf["pools"] == [before["pools"][0], pool | {"pass": before["pools"][1]["pass"]}, before["pools"][2]]
        assert {key: conf[key] for key in conf if key not in ("pools", "bitmain-work-mode")} == {
            key: before[key] for key in before if key not in ("pools", "bitmain-work-mode")
        }


@pytest.mark.parametrize("unsent", [Unsent.LOST, Unsent.KEPT])
async def test_empty_pools_that_are_sent_are_written(unsent: Unsent) -> None:
    async with stock(StockTraits(unsent=unsent)) as miner:
        await sent(miner, {"miner-mode": 0, "pools": [{"url": "", "user": "", "pass": ""}] * 3})
        assert [pool["url"] for pool in (await miner.conf())["pools"]] == ["", "", ""]


async def test_a_write_of_the_same_mode_costs_flash_and_no_restart() -> None:
    async with stock() as miner:
        assert await miner.set_mode(0) == OK
        assert (miner.miner.config_writes, miner.miner.restarts) == (1, 0)
        assert (await miner.ask("version"))["STATUS"][0]["STATUS"] == "S"


async def test_a_mode_the_version_does_not_know_is_passed_over_with_success() -> None:
    async with stock(StockTraits(unsent=Unsent.KEPT, modes=frozenset("01"))) as miner:
        assert await sent(miner, {"miner-mode": 3}) == OK
        assert miner.mode == "0"
        assert (miner.miner.config_writes, miner.miner.restarts) == (1, 0)


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'{"miner-mode": 1', b"\xff\xfe"])
async def test_what_is_no_json_object_is_refused_and_changes_nothing(body: bytes) -> None:
    async with stock() as miner, miner.browser() as client:
        answer = await client.post("/cgi-bin/set_miner_conf.cgi", content=body)
        assert answer.json() == {"stats": "error", "code": "M001", "msg": "Illegal request!"}
        assert (miner.mode, miner.miner.config_writes) == ("0", 0)


async def test_values_of_any_type_are_taken_as_text() -> None:
    async with stock() as miner:
        pools = [{"url": 5, "user": None, "pass": {"a": 1}}, "none", None]
        assert await sent(miner, {"miner-mode": 3, "pools": pools, "bitmain-fan-ctrl": "true"}) == OK
        conf = await miner.conf()
        assert conf["pools"][0] == {"url": "5", "user": "", "pass": '{"a": 1}'}
        assert (conf["bitmain-work-mode"], conf["bitmain-fan-ctrl"]) == (LOW_POWER, True)


async def test_a_slow_write_is_in_the_file_when_it_is_answered_and_turns_a_second_one_away() -> None:
    async with stock(StockTraits(write_s=1.0)) as miner, miner.browser() as client:
        assert (await client.get("/")).status_code == 200
        slow = await begun(miner)
        assert (await client.get("/cgi-bin/get_miner_conf.cgi")).json()["bitmain-work-mode"] == "0"
        assert (await client.post("/cgi-bin/set_miner_conf.cgi", json={})).json()["msg"] == "request busy"
        assert not slow.done()
        assert await slow == OK
        assert (await miner.conf())["bitmain-work-mode"] == SLEEP
        assert miner.miner.config_writes == 1


async def test_a_slow_write_happens_although_its_client_has_left() -> None:
    async with stock(StockTraits(write_s=0.3)) as miner:
        slow = await begun(miner)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert miner.mode == "0"
        async with asyncio.timeout(5):
            while miner.mode != SLEEP:  # noqa: ASYNC110 - the condition is in another's hands: ask again
                await asyncio.sleep(0.01)


async def test_every_write_is_on_record_with_what_it_asks_for() -> None:
    async with stock() as miner:
        for mode in (1, 3, 0, 0, 3, 1):
            await miner.set_mode(mode)
        await miner.script("reboot")
        writes = miner.miner.log.writes
        assert [write.raises for write in writes] == [False, True, True, None, False, False, None]
        assert [write.command for write in writes] == ["set_miner_conf"] * 6 + ["reboot"]
        assert json.loads(writes[0].parameter)["miner-mode"] == 1


async def test_a_read_of_the_configuration_can_be_made_to_fail() -> None:
    async with stock() as miner:
        miner.miner.conf_read = ConfRead.FAILS
        assert (await miner.script("get_miner_conf")).status_code == 500
        miner.miner.conf_read = ConfRead.NO_POOLS
        assert list(await miner.conf()) == CONF_KEYS[1:]
        miner.miner.conf_read = ConfRead.CUT
        with pytest.raises(json.JSONDecodeError):
            await miner.conf()
        miner.miner.conf_read = ConfRead.SOUND
        assert list(await miner.conf()) == CONF_KEYS
