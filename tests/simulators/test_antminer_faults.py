"""What a client of a simulated stock Antminer's web port sees under each fault."""

import asyncio
import time

import httpx
import pytest

from simulators.asic.http_server import KeepAlive
from simulators.asic.response import Mode
from simulators.faults import Fault
from tests.simulators.antminer_client import GET, SLEEP, answer, connected, head, stock


async def test_both_ports_refuse_and_come_back() -> None:
    async with stock() as miner:
        port = miner.web_port
        miner.faults.on(Fault.REFUSE)
        with pytest.raises(httpx.ConnectError):
            await miner.conf()
        with pytest.raises(ConnectionRefusedError):
            await miner.ask("version")
        miner.faults.off(Fault.REFUSE)
        assert (await miner.conf())["bitmain-work-mode"] == "0"
        assert miner.web_port == port


async def test_a_reset_is_a_reset_on_a_kept_connection_too() -> None:
    async with stock() as miner, miner.browser() as client, connected(miner) as (reader, writer):
        assert (await client.get("/")).status_code == 200
        miner.faults.on(Fault.RESET)
        with pytest.raises(httpx.TransportError):
            await client.get("/")
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.BLACK_HOLE])
async def test_a_silent_miner_says_nothing_on_a_kept_connection(fault: Fault) -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        writer.write(GET)
        assert (await answer(reader))[0] == 401
        miner.faults.on(fault)
        writer.write(GET)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.15)
        assert miner.miner.challenges == 1


async def test_in_a_black_hole_no_connection_is_made() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.BLACK_HOLE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection(miner.host, miner.web_port), 0.3)
        miner.faults.off(Fault.BLACK_HOLE)
        assert (await miner.conf())["bitmain-work-mode"] == "0"


async def test_garbage_is_no_http() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.GARBAGE)
        with pytest.raises(httpx.RemoteProtocolError):
            await miner.conf()


async def test_truncate_ends_in_the_middle() -> None:
    async with stock() as miner, miner.browser() as client:
        assert (await client.get("/")).status_code == 200
        miner.faults.on(Fault.TRUNCATE)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/cgi-bin/get_miner_conf.cgi")


async def test_drip_sends_everything_one_byte_at_a_time() -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        miner.faults.on(Fault.DRIP, 0.0002)
        writer.write(GET)
        pieces = 0
        data = b""
        while not data.endswith(b"</html>\n"):
            data += await reader.read(10_000)
            pieces += 1
        assert data.startswith(b"HTTP/1.1 401")
        assert pieces > 20
        miner.faults.off(Fault.DRIP)
        writer.write(GET)
        assert (await answer(reader))[0] == 401  # the connection is as good as before


async def test_slow_loris_stops_before_its_last_byte_and_stays() -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        miner.faults.on(Fault.SLOW_LORIS, 0.0002)
        writer.write(GET)
        text = await head(reader)
        length = int(text.lower().split("content-length: ")[1].split("\r\n")[0])
        assert len(await reader.readexactly(length - 1)) == length - 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.15)


async def test_delay_answers_late() -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        miner.faults.on(Fault.DELAY, 0.2)
        started_s = time.monotonic()
        writer.write(GET + GET)
        assert (await answer(reader))[0] == 401
        assert time.monotonic() - started_s >= 0.19
        assert (await answer(reader))[0] == 401
        assert time.monotonic() - started_s >= 0.38


async def test_keep_open_does_not_end_where_it_should() -> None:
    async with stock(keep_alive=KeepAlive(requests=1, idle_s=0.05)) as miner, connected(miner) as (reader, writer):
        miner.faults.on(Fault.KEEP_OPEN)
        writer.write(GET.replace(b"Host", b"Connection: close\r\nHost"))
        assert (await answer(reader))[0] == 401
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)


@pytest.mark.parametrize(("fault", "status"), [(Fault.HTTP_401, 401), (Fault.HTTP_403, 403), (Fault.HTTP_500, 500)])
async def test_a_status_is_given_to_good_credentials_too(fault: Fault, status: int) -> None:
    async with stock() as miner:
        miner.faults.on(fault)
        assert (await miner.script("get_miner_conf")).status_code == status
        assert (await miner.script("set_miner_conf", {"miner-mode": 1})).status_code == status
        assert miner.mode == "0"
        assert await miner.rate_ghs() > 0  # port 4028 knows nothing of it


async def test_an_empty_body_is_a_success_without_content_and_the_write_happens() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.EMPTY_BODY)
        conf = await miner.script("get_miner_conf")
        assert (conf.status_code, conf.content) == (200, b"")
        written = await miner.script("set_miner_conf", {"miner-mode": 1})
        assert (written.status_code, written.content) == (200, b"")
        assert miner.mode == SLEEP


async def test_a_session_error_turns_every_write_away_as_stale_and_leaves_reads_alone() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.SESSION_ERROR)
        answered = await miner.script("set_miner_conf", {"miner-mode": 1})
        assert answered.status_code == 401
        assert "stale=true" in answered.headers["www-authenticate"]
        assert (await miner.conf())["bitmain-work-mode"] == "0"


async def test_a_device_error_answers_every_script_with_an_error() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.DEVICE_ERROR)
        for name, sent in (("get_miner_conf", None), ("set_miner_conf", {"miner-mode": 1}), ("reboot", None)):
            assert (await miner.script(name, sent)).json()["stats"] == "error"
        assert (miner.mode, bool(miner.bank.is_rebooting[0])) == ("0", False)


async def test_ignore_acknowledges_and_nothing_happens() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.IGNORE)
        assert (await miner.set_mode(1))["code"] == "M000"
        assert (miner.mode, miner.miner.config_writes, miner.bank.mode[0]) == ("0", 0, Mode.HASH)


async def test_obey_with_error_writes_and_says_it_did_not() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.OBEY_WITH_ERROR)
        assert (await miner.set_mode(1))["stats"] == "error"
        assert (miner.mode, miner.miner.config_writes, miner.bank.mode[0]) == (SLEEP, 1, Mode.SLEEP)


async def test_a_reboot_in_the_middle_of_a_write_loses_it() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.REBOOT_ON_WRITE)
        with pytest.raises(httpx.TransportError):
            await miner.script("set_miner_conf", {"miner-mode": 1})
        assert bool(miner.bank.is_rebooting[0])
        assert (miner.mode, miner.miner.config_writes) == ("0", 0)


async def test_another_writer_holds_the_lock() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.FOREIGN_SESSION)
        assert await miner.set_mode(1) == {"stats": "error", "code": "M001", "msg": "request busy"}
        assert (miner.mode, miner.miner.config_writes) == ("0", 0)


async def test_a_server_ends_cleanly_with_clients_still_waiting() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.HANG)
        reader, writer = await asyncio.open_connection(miner.host, miner.web_port)
        writer.write(GET)
        await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
