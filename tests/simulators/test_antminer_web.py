"""The web interface of simulated stock Antminers: digest, scripts, and what a configuration write keeps and loses."""

import asyncio
import json
from importlib import resources
from typing import Any

import httpx
import pytest

from simulators.asic.antminer import ConfRead, StockTraits
from simulators.asic.antminer_conf import Unsent
from simulators.asic.antminer_web import CHANGED_PASSWORD
from simulators.asic.response import Behaviour
from simulators.faults import Fault
from tests.simulators.antminer_client import LOW_POWER, SLEEP, Stock, stock

CONF_KEYS = [
    "pools",
    "api-listen",
    "api-network",
    "api-groups",
    "api-allow",
    "bitmain-fan-ctrl",
    "bitmain-fan-pwm",
    "bitmain-use-vil",
    "bitmain-freq",
    "bitmain-voltage",
    "bitmain-ccdelay",
    "bitmain-pwth",
    "bitmain-work-mode",
    "bitmain-freq-level",
]
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


# --- who may come in -------------------------------------------------------------------------------------------------


async def test_nobody_gets_in_without_credentials_and_the_realm_says_whose_it_is() -> None:
    async with stock() as miner, httpx.AsyncClient(base_url=miner.url, trust_env=False) as client:
        for path in ("/", "/cgi-bin/get_miner_conf.cgi", "/kaonsu/v1/brief", "/nowhere"):
            answer = await client.get(path)
            assert answer.status_code == 401
            challenge = answer.headers["www-authenticate"]
            assert challenge.startswith('Digest realm="antMiner Configuration", nonce="')
            assert 'qop="auth"' in challenge
            assert "stale" not in challenge
        assert miner.miner.challenges == 4
        assert not miner.miner.log.counts


async def test_with_credentials_the_page_is_there_and_another_vendors_script_is_not() -> None:
    async with stock() as miner, miner.browser() as client:
        assert (await client.get("/")).status_code == 200
        brief = await client.get("/kaonsu/v1/brief")
        assert brief.status_code == 404
        with pytest.raises(json.JSONDecodeError):
            brief.json()


async def test_one_nonce_is_good_for_many_requests() -> None:
    async with stock() as miner, miner.browser() as client:
        for _ in range(10):
            assert (await client.get("/cgi-bin/get_miner_conf.cgi")).status_code == 200
        assert miner.miner.challenges == 1
        assert miner.miner.log.counts["get_miner_conf"] == 10


async def test_a_request_that_is_played_again_is_stale() -> None:
    async with stock() as miner, miner.browser() as client:
        first = await client.get("/cgi-bin/get_miner_conf.cgi")
        again = {"Authorization": first.request.headers["Authorization"]}
        async with httpx.AsyncClient(base_url=miner.url, trust_env=False) as thief:
            answer = await thief.get("/cgi-bin/get_miner_conf.cgi", headers=again)
            elsewhere = await thief.get("/cgi-bin/reboot.cgi", headers=again)
    assert answer.status_code == 401
    assert "stale=true" in answer.headers["www-authenticate"]
    assert elsewhere.status_code == 400  # made for another address


async def test_the_session_fault_ends_every_nonce_once() -> None:
    async with stock() as miner, miner.browser() as client:
        assert (await client.get("/")).status_code == 200
        miner.faults.on(Fault.STALE_SESSION)
        assert (await client.get("/")).status_code == 200
        assert miner.miner.challenges == 2


async def test_a_wrong_password_is_no_stale_nonce() -> None:
    async with stock() as miner:
        async with miner.browser("wrong") as client:
            answer = await client.get("/")
            assert answer.status_code == 401
            assert "stale" not in answer.headers["www-authenticate"]
        miner.faults.on(Fault.WRONG_PASSWORD)
        assert (await miner.script("get_miner_conf")).status_code == 401
        async with miner.browser(CHANGED_PASSWORD) as client:
            assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("header", ["Basic cm9vdDpyb290", "Digest username=root", "Digest", 'Digest nc="x"'])
async def test_credentials_in_another_shape_are_a_bad_request(header: str) -> None:
    async with stock() as miner, httpx.AsyncClient(base_url=miner.url, trust_env=False) as client:
        assert (await client.get("/", headers={"Authorization": header})).status_code == 400


# --- what the scripts say --------------------------------------------------------------------------------------------


async def test_the_configuration_has_the_keys_in_the_order_of_the_published_log() -> None:
    async with stock() as miner:
        answer = await miner.script("get_miner_conf")
        conf = answer.json()
    assert list(conf) == CONF_KEYS
    assert answer.text.startswith('{\n"pools" : [\n{\n"url" : "stratum+tcp://')
    assert answer.text.endswith('"bitmain-work-mode" : "0",\n"bitmain-freq-level" : "95"\n}\n')
    assert [sorted(pool) for pool in conf["pools"]] == [["pass", "url", "user"]] * 3
    assert conf["pools"][2] == {"url": "", "user": "", "pass": ""}


async def test_the_system_information_has_the_keys_of_the_recording() -> None:
    recorded = json.loads(resources.files("simulators").joinpath("data/antminer/system_info.json").read_text())
    async with stock() as miner:
        told = (await miner.script("get_system_info")).json()
        assert set(told) == set(recorded)
        assert (told["minertype"], told["ipaddress"]) == ("Antminer S19 Pro", "127.0.0.1")
        network = (await miner.script("get_network_info")).json()
        assert (network["macaddr"], network["conf_nettype"]) == (told["macaddr"], "DHCP")
        assert (await miner.script("miner_type")).json()["miner_type"] == "Antminer S19 Pro"


async def test_the_statistics_of_both_ports_agree() -> None:
    async with stock() as miner:
        web = (await miner.script("stats")).json()["STATS"][0]
        legacy = (await miner.ask("stats"))["STATS"][1]
        assert (web["rate_5s"], web["rate_ideal"]) == (legacy["GHS 5s"], legacy["total_rateideal"])
        assert (web["miner-mode"], web["freq-level"], web["chain_num"]) == (0, 95, 3)
        assert (await miner.ask("stats", new_api=True))["STATS"][0] == web
        summary = (await miner.script("summary")).json()["SUMMARY"][0]
        assert [check["status"] for check in summary["status"]] == ["s"] * 4
        assert len((await miner.script("pools")).json()["POOLS"]) == 2


async def test_scripts_that_need_the_process_fail_while_it_starts_and_the_others_do_not() -> None:
    async with stock() as miner:
        await miner.set_mode(1)
        assert (await miner.script("summary")).status_code == 500
        assert (await miner.script("get_system_info")).status_code == 200
        miner.bank.step(10.0)
        assert (await miner.script("summary")).status_code == 200


async def test_the_lamp_blinks_on_demand() -> None:
    async with stock() as miner:
        assert (await miner.script("blink", {"blink": "true"})).json() == {"code": "B000"}
        assert (await miner.script("get_blink_status")).json() == {"blink": True}
        assert (await miner.script("blink", {"blink": False})).json() == {"code": "B100"}
        assert (await miner.script("get_blink_status")).json() == {"blink": False}


async def test_a_reboot_is_answered_and_then_nobody_is() -> None:
    async with stock() as miner:
        assert (await miner.script("reboot")).status_code == 200
        with pytest.raises(httpx.TransportError):
            await miner.conf()
        with pytest.raises(ConnectionError):
            await miner.ask("version")
        for _ in range(120):
            miner.bank.step(1.0)
        assert (await miner.conf())["bitmain-work-mode"] == "0"
        assert miner.miner.config_writes == 0


@pytest.mark.parametrize(
    ("behaviour", "fault", "stats", "reboots"),
    [
        (Behaviour.REFUSES, None, "error", False),
        (Behaviour.IGNORES, None, "success", False),
        (Behaviour.OBEYS, Fault.IGNORE, "success", False),
        (Behaviour.OBEYS, Fault.OBEY_WITH_ERROR, "error", True),
    ],
)
async def test_a_reboot_is_a_write_like_any_other(
    behaviour: Behaviour, fault: Fault | None, stats: str, reboots: bool
) -> None:
    async with stock(behaviour=behaviour) as miner:
        if fault is not None:
            miner.faults.on(fault)
        assert (await miner.script("reboot")).json()["stats"] == stats
        assert bool(miner.bank.is_rebooting[0]) == reboots


# --- what a write keeps and loses ------------------------------------------------------------------------------------


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


# --- reads that must keep a careful client from writing --------------------------------------------------------------


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
