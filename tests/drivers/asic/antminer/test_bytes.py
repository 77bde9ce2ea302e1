"""What stock pyasic and our driver put on the wire of a stock Antminer for the same wish, compared field by field.

Written for the pyasic version the door names. What differs, and why (the whole list; a test fails when it grows):

- pyasic asks every request twice, once without credentials; ours once, with the last nonce;
- `Accept`, `Accept-Encoding`, `Connection` and `User-Agent` are not sent: what they say is the default of HTTP/1.1, or
  an offer (compression) we could not take up;
- the body: pyasic writes the fan's speed as `bitmain-fan-pwn`, which no version of the miner's script reads; it always
  writes `freq-level` 100 and the fans' own defaults, ours what was there; ours writes the mode under both of its names;
- pyasic opens a connection for each request and its repetition and closes it; ours is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from importlib.metadata import version

import pytest
import pytest_asyncio

from drivers.asic.pyasic_miner import WRITTEN_FOR
from tests.drivers.asic.antminer.answers import CONF, conf
from tests.drivers.asic.antminer.script import PASSWORD, SHED, SLEEP, WAKE, Asked, Script, scripted

# As pyasic would leave it: what it carries, at the values it always writes.
PLAIN = conf("0", bitmain_fan_pwm="100", bitmain_freq_level="100")
NOT_SENT = {"accept", "accept-encoding", "connection", "user-agent"}


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as miner:
        miner.web["get_miner_conf"] = PLAIN
        yield miner


async def both(script: Script, mode: str) -> tuple[list[Asked], list[Asked]]:
    """The requests of stock pyasic and ours for the same wish that were let in."""
    stock = script.stock()
    script.web["get_miner_conf"] = PLAIN | {"bitmain-work-mode": mode}
    await (stock.stop_mining() if mode == "0" else stock.resume_mining())
    theirs, script.requests = script.requests, []
    script.web["get_miner_conf"] = PLAIN | {"bitmain-work-mode": mode}
    ours = script.ours()
    await ours.perform(SHED if mode == "0" else WAKE)
    await ours.close()
    mine, script.requests = script.requests, []
    return [one for one in theirs if one.credentials()], [one for one in mine if one.credentials()]


def test_the_installed_pyasic_is_the_version_this_was_written_for() -> None:
    assert version("pyasic").startswith(f"{WRITTEN_FOR}."), "compare web/antminer.py and config/, then rename"


@pytest.mark.parametrize("mode", ["0", "1"])
async def test_method_path_and_the_headers_that_matter_are_those_of_stock_pyasic(script: Script, mode: str) -> None:
    theirs, mine = await both(script, mode)
    mine = mine[:2]  # a wake that is not urgent is read back
    assert [(one.method, one.path) for one in theirs] == [
        ("GET", "/cgi-bin/get_miner_conf.cgi"),
        ("POST", "/cgi-bin/set_miner_conf.cgi"),
    ]
    assert [(one.method, one.path) for one in mine] == [(one.method, one.path) for one in theirs]
    for ours, stock in zip(mine, theirs, strict=True):
        assert stock.headers.keys() - ours.headers.keys() == NOT_SENT
        assert ours.headers.keys() <= stock.headers.keys()
        same = {name: value for name, value in stock.headers.items() if name in {"host", "content-type"}}
        assert {name: value for name, value in ours.headers.items() if name in same} == same
        assert ours.raw.partition(b"\r\n")[0] == stock.raw.partition(b"\r\n")[0]


@pytest.mark.parametrize("mode", ["0", "1"])
async def test_credentials_have_the_same_fields_in_the_same_order_and_the_same_form(script: Script, mode: str) -> None:
    theirs, mine = await both(script, mode)
    for ours, stock in zip(mine[:2], theirs, strict=True):
        assert list(ours.credentials()) == list(stock.credentials())
        free = {"nc", "cnonce", "response"}
        assert {k: v for k, v in ours.credentials().items() if k not in free} == {
            k: v for k, v in stock.credentials().items() if k not in free
        }
        for name, value in ours.credentials().items():
            assert len(value) == len(stock.credentials()[name]), name
        assert _form(ours) == _form(stock)


@pytest.mark.parametrize(("mode", "wanted"), [("0", 1), ("1", 0)])
async def test_the_body_is_that_of_stock_pyasic_but_for_the_keys_on_the_list(
    script: Script, mode: str, wanted: int
) -> None:
    theirs, mine = await both(script, mode)
    stock, ours = json.loads(theirs[1].body), json.loads(mine[1].body)
    assert stock.pop("bitmain-fan-pwn") == ours.pop("bitmain-fan-pwm") == "100"
    assert ours.pop("bitmain-work-mode") == str(wanted)
    assert ours == stock
    assert list(ours) == list(stock)
    assert ours["miner-mode"] == wanted
    assert mine[1].body == json.dumps(json.loads(mine[1].body), separators=(",", ":")).encode()
    assert theirs[1].body == json.dumps(json.loads(theirs[1].body), separators=(",", ":")).encode()


async def test_pyasic_sends_twice_as_much_and_ours_keeps_one_connection(script: Script) -> None:
    await script.stock().stop_mining()
    assert (len(script.requests), script.web_connections) == (4, 2)
    script.requests.clear()
    script.web["get_miner_conf"] = PLAIN
    ours = script.ours()
    await ours.read()
    script.requests.clear()
    await ours.perform(SHED)
    assert (len(script.requests), script.web_connections) == (2, 3)
    await ours.close()


async def test_what_pyasic_resets_ours_leaves_alone(script: Script) -> None:
    script.web["get_miner_conf"] = CONF
    await script.stock().stop_mining()
    assert script.written[-1]["freq-level"] == "100"  # it was 95
    script.web["get_miner_conf"] = CONF
    ours = script.ours()
    await ours.perform(SLEEP)
    assert (script.written[-1]["freq-level"], script.written[-1]["bitmain-fan-pwm"]) == ("95", "80")
    await ours.close()


async def test_the_question_on_port_4028_is_that_of_stock_pyasic(script: Script) -> None:
    stock = script.stock()
    await stock.rpc.summary()
    ours = script.ours(password=PASSWORD)
    await ours.read()
    await ours.close()
    assert script.asked_raw[0] == script.asked_raw[1] == b'{"command": "summary"}'


def _form(request: Asked) -> str:
    """The header with every value replaced by its quotes."""
    return re.sub(r'="[^"]*"', '=""', re.sub(r"(nc=)[0-9a-f]+", r"\1", request.headers["authorization"]))
