"""`curtaild heartbeat`: be a dispatcher's sign of life, to try a site whose lease requires one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

from controller.commands.dispatch import EXIT_DONE, EXIT_NO_ANSWER, broker_of_arguments, parse_duration
from controller.runtime.dispatcher import send_heartbeats
from controller.runtime.mqtt_link import LinkLostError


def heartbeat_from_arguments(given: Mapping[str, Any], env: Mapping[str, str], out: TextIO) -> int:
    """Send heartbeats until interrupted, or for as long as `lifetime` says; returns the exit code.

    0: ended as asked. 4: the broker is not there or went away. Raises ValueError for what cannot be sent.
    """
    every_s, site = parse_duration(given["every"]), given["site"]
    for_s = None if given["lifetime"] is None else parse_duration(given["lifetime"])
    broker = broker_of_arguments(given, env)

    async def beat() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await send_heartbeats(broker, site, every_s)

    print(f"heartbeats to site {site} every {every_s:g} s; Ctrl-C ends them", file=out, flush=True)
    try:
        asyncio.run(beat())
    except LinkLostError as lost:
        print(f"broker: {lost}", file=out)
        return EXIT_NO_ANSWER
    except KeyboardInterrupt:
        pass
    return EXIT_DONE
