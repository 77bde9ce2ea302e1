"""Listening sockets that stop without leaving behind what they have just accepted."""

import asyncio

_PASSES = 5  # of the loop, from the moment it takes a connection until its protocol, or its task, knows of it


def accept_no_more(server: asyncio.Server) -> None:
    """Whoever connects from now on waits in the kernel, until the server is closed.

    A server that is closed with a connection half accepted loses that one open: asyncio of Python 3.11 refuses to hand
    it over, and nobody else has it. Closed after `accepted`, it has none.
    """
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())


async def accepted() -> None:
    """Returns when those who were being accepted are known, and so can be dropped."""
    for _ in range(_PASSES):
        await asyncio.sleep(0)
