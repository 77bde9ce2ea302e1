"""The web interface of simulated stock Antminers: who gets in, and what its scripts say."""

import json
from importlib import resources

import httpx
import pytest

from simulators.asic.antminer_web import CHANGED_PASSWORD
from simulators.asic.response import Behaviour
from simulators.faults import Fault
from tests.simulators.antminer_client import CONF_KEYS, stock

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
