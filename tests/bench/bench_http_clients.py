"""What one web client costs beside another: the two requests of a sleep (GET and POST, warm), CPU ms per miner.

Run: `python -m tests.bench.bench_http_clients [--miners 1000] [--rounds 5]`. All contestants run in one process, one
after the other within each round, against one server in a process of its own; figures are medians over the rounds.
httptools and aiohttp are no dependencies of the project: whoever wants them in the table puts them on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import statistics
import time

from tests.bench.http_contestants import CONF, Client, contestants

AT_ONCE = 64


class _Miner(asyncio.Protocol):
    """The web interface of a stock Antminer as far as this needs it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            length = int(rest.split(b"\r\n")[0]) if rest else 0
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            if b"authorization: digest" not in head:
                challenge = 'WWW-Authenticate: Digest realm="antMiner Configuration", nonce="7d9c85", qop="auth"\r\n'
                self._answer("401 Unauthorized", b"{}", challenge)
            elif head.startswith(b"get"):
                self._answer("200 OK", json.dumps(CONF).encode())
            else:
                self._answer("200 OK", b'{"stats":"success","code":"M000","msg":"OK!"}')

    def _answer(self, status: str, body: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}"
        self._transport.write(f"{head}Server: lighttpd/1.4.32\r\n\r\n".encode() + body)


def serve(pipe: multiprocessing.connection.Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Miner, "127.0.0.1", 0, backlog=2048)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def all_at_once(clients: list[Client]) -> tuple[float, float]:
    """One sleep each, CPU and wall seconds."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(client: Client) -> None:
        async with slots:
            await client.sleep()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one(client) for client in clients))
    return time.process_time() - cpu, time.perf_counter() - wall


async def measure(port: int, miners: int, rounds: int) -> None:
    import drivers.asic.http as ours

    own_parser = ours.AnswerParser
    cpu: dict[str, list[float]] = {}
    wall: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, (build, parser) in contestants().items():
            ours.AnswerParser = parser or own_parser  # type: ignore[misc]  # the one place where a client is tuned
            clients = [build(port) for _ in range(miners)]
            await all_at_once(clients)  # cold: challenges and connections
            took = await all_at_once(clients)
            cpu.setdefault(name, []).append(took[0] / miners * 1e3)
            wall.setdefault(name, []).append(took[1])
            await asyncio.gather(*(client.close() for client in clients))
    ours.AnswerParser = own_parser  # type: ignore[misc]
    base = statistics.median(cpu["by hand, keep-alive"])
    print(f"{'GET and POST, warm, ' + str(miners) + ' miners':36} CPU ms/miner   x by hand   wall s")
    for name, taken in sorted(cpu.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(taken)
        print(f"{name:36} {middle:12.3f} {middle / base:11.2f} {statistics.median(wall[name]):8.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--miners", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    asyncio.run(measure(here.recv(), given.miners, given.rounds))
    server.terminate()


if __name__ == "__main__":
    main()
