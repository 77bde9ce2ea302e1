"""What stock pyasic and our LuxOS driver put on the wire for the same request, byte for byte.

Our requests do not pass through pyasic; this is the proof that a miner cannot tell the difference. It holds for the
version named in the door: another one must be read and compared again before this test may name it.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from drivers.asic.pyasic_miner import WRITTEN_FOR
from drivers.asic.rpc import RpcWire

CALLS: list[tuple[Any, tuple[str, ...], str | None]] = [
    (lambda miner: miner.rpc.send_command("power+summary+config"), ("power+summary+config",), None),
    (lambda miner: miner.stop_mining(), ("curtail", "sleep"), "warm"),
    (lambda miner: miner.resume_mining(), ("curtail", "wakeup"), "warm"),
    (lambda miner: miner.rpc.profileset("590MHz"), ("profileset", "590MHz"), "warm"),
    (lambda miner: miner.rpc.profiles(), ("profiles",), None),
    (lambda miner: miner.rpc.config(), ("config",), None),
    (lambda miner: miner.rpc.atm(), ("atm",), None),
    (lambda miner: miner.rpc.atmset(enabled=False), ("atmset", "enabled=false"), "warm"),
    (lambda miner: miner.rpc.atmset(enabled=True), ("atmset", "enabled=true"), "warm"),
    (lambda miner: miner.rpc.session(), ("session",), None),
    (lambda miner: miner.rpc.logon(), ("logon",), None),
    (lambda miner: miner.rpc.logoff(), ("logoff",), "warm"),
    (lambda miner: miner.rpc.version(), ("version",), None),
]


def test_the_installed_pyasic_is_the_version_the_transport_was_written_for() -> None:
    assert version("pyasic").startswith(f"{WRITTEN_FOR}."), "compare rpc/base.py and rpc/luxminer.py, then rename"


@pytest.mark.parametrize(("stock_call", "ours", "session"), CALLS, ids=["-".join(ours) for _, ours, _ in CALLS])
async def test_the_bytes_are_those_of_stock_pyasic(
    script: Any, stock_call: Any, ours: tuple[str, ...], session: str | None
) -> None:
    stock = script.stock()
    stock.rpc.session_token = "warm"
    await stock_call(stock)
    wire = RpcWire(host="127.0.0.1", port=script.port)
    assert (await wire.send(*ours, session=session, deadline_s=3.0)).ok
    assert len(script.requests) == 2
    assert script.requests[0] == script.requests[1]


async def test_every_request_of_our_driver_is_among_the_compared_ones(script: Any) -> None:
    script.answers["atm"] = script.ok(ATM=[{"Enabled": True}])
    miner = script.ours()
    await miner.read()
    for command in (script.SLEEP, script.WAKE, script.SHED, script.trim(5)):
        await miner.perform(command)
    await miner.restore("215MHz")
    compared = {ours[0] for _, ours, _ in CALLS}
    assert {command.split()[0] for command in script.commands()} <= compared
