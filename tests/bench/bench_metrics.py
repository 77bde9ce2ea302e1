"""What a scrape costs the control loop: the pages of 10,000 miners and of the daemon, with other ways beside them.

    python -m tests.bench.bench_metrics [--miners 10000] [--rounds 20]

One process with a loop, as many idle tasks as there are miners, and a ticker that should be called every millisecond;
a client in a process of its own asks for a page as Prometheus does and reads it whole. Told of each way: how long a
scrape took from connect to last byte, the CPU it cost this process, by how much the ticker came late at worst, and the
most CPU the loop's own thread spent between two of its calls (busy): the one counts waits for other threads and other
programs, the other does not. All ways serve the same figures in the same run, after a row in which nobody asks.
Nothing is asserted: a time on a shared machine is a number to read, not a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import numpy as np
import prometheus_client
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controller.core.state import State
from controller.domain.fleet import Fleet
from controller.domain.plan import Decision
from controller.runtime.metrics import Metrics
from controller.runtime.metrics_server import KEPT_S, MetricsServer
from controller.runtime.miner_metrics import FAMILIES, MinerMetrics, Values
from tests.bench.plain_site import Bench

TICK_S = 0.001
# A client of its own: one in this process would wait for the interpreter that it is to measure.
CLIENT = """
import http.client, json, sys, time
port, path, rounds, pause, packed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
took, size = [], 0
for number in range(rounds + 1):
    began = time.perf_counter()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asked.request("GET", path, headers={"Accept-Encoding": "gzip"} if packed == "gzip" else {})
    reply = asked.getresponse()
    size = len(reply.read())
    assert reply.status == 200, reply.status
    took.append((time.perf_counter() - began) * 1e3)
    time.sleep(pause)
print(json.dumps({"ms": took[1:], "bytes": size}))
"""

Moment = tuple[Fleet, State, Decision]


class Ticker:
    """Wants to be called every millisecond, and notes by how much it was not."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.busy_ms = 0.0

    async def run(self) -> None:
        before, spent = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK_S)
            now, cpu_s = time.perf_counter(), time.thread_time()
            self.late_ms.append((now - before - TICK_S) * 1e3)
            self.busy_ms = max(self.busy_ms, (cpu_s - spent) * 1e3)
            before, spent = now, cpu_s


def moment_of(size: int) -> Moment:
    """A fleet after some cycles, its watts as uneven as real ones."""
    bench = Bench(size)
    bench.run(3)
    state, decision = bench.engine.step(bench.state, bench.snapshot(everybody=True), bench.now + 1.0)
    noise = np.random.default_rng(1)
    state.fleet.reported_w += noise.normal(0.0, 40.0, size)
    state.fleet.read_at -= noise.uniform(0.0, 10.0, size)
    decision.expected_power_w[:] += noise.normal(0.0, 40.0, size)
    return bench.facts, state, decision


def daemon_metrics(moment: Moment) -> Metrics:
    facts, state, decision = moment
    metrics = Metrics("bench", facts, {"curtaild": "bench"})
    metrics.observe_decision(decision)
    metrics.observe_telemetry(decision.now - state.fleet.read_at)
    return metrics


def gauges_of(moment: Moment) -> CollectorRegistry:
    """The same series as prometheus-client's own labelled gauges, already set."""
    facts, state, decision = moment
    registry = CollectorRegistry()
    info = Gauge("curtaild_miner_info", "x", ("miner", "model", "firmware", "feeder"), registry=registry)
    for unit in facts.units:
        info.labels(unit.miner_id, unit.model.name, unit.family, facts.feeder_names[unit.feeder]).set(1)
    for family in FAMILIES:
        found = family.of(facts, (state, decision))
        labels = ("miner",) if isinstance(found, Values) else ("miner", found.label)
        gauge = Gauge(family.name, family.text, labels, registry=registry)
        for row, miner in enumerate(facts.miner_ids):
            if isinstance(found, Values):
                if found.known[row]:
                    gauge.labels(miner).set(float(found.value[row]))
            else:
                gauge.labels(miner, found.words[found.code[row]]).set(1)
    return registry


class FromArrays(Collector):
    """The same series by prometheus-client's custom collector: made from the arrays at each scrape."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment

    def collect(self) -> Iterator[GaugeMetricFamily]:
        facts, state, decision = self._moment
        info = GaugeMetricFamily("curtaild_miner_info", "x", labels=("miner", "model", "firmware", "feeder"))
        for unit in facts.units:
            info.add_metric((unit.miner_id, unit.model.name, unit.family, facts.feeder_names[unit.feeder]), 1)
        yield info
        for family in FAMILIES:
            found = family.of(facts, (state, decision))
            if isinstance(found, Values):
                made = GaugeMetricFamily(family.name, family.text, labels=("miner",))
                for row in np.flatnonzero(found.known).tolist():
                    made.add_metric((facts.miner_ids[row],), float(found.value[row]))
            else:
                made = GaugeMetricFamily(family.name, family.text, labels=("miner", found.label))
                for row, miner in enumerate(facts.miner_ids):
                    made.add_metric((miner, found.words[found.code[row]]), 1)
            yield made


@asynccontextmanager
async def stock(registry: CollectorRegistry) -> AsyncIterator[int]:
    """prometheus-client's server: a thread for each connection."""
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def ours(page: Callable[[], AsyncGenerator[str, None]]) -> AsyncIterator[int]:
    server = MetricsServer({"/metrics": page})
    try:
        yield await server.start("127.0.0.1", 0)
    finally:
        await server.close()


async def scrape(port: int, rounds: int, packed: str, pause_s: float) -> dict[str, object]:
    arguments = ("-c", CLIENT, str(port), "/metrics", str(rounds), str(pause_s), packed)
    client = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    said, _ = await client.communicate()
    if client.returncode:
        raise SystemExit("the client failed; its words are above")
    found: dict[str, object] = json.loads(said)
    return found


async def measured(name: str, rounds: int, work: Callable[[], Awaitable[dict[str, object] | None]]) -> None:
    """One row: the scrapes, this process's CPU, and the ticker meanwhile."""
    await asyncio.sleep(0.2)
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    cpu_s = time.process_time()
    told = await work()
    cpu_ms = (time.process_time() - cpu_s) * 1e3
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking
    rare_ms = statistics.quantiles(ticker.late_ms, n=1000, method="inclusive")[-1]
    late = f"{max(ticker.late_ms):.1f} | {rare_ms:.1f} | {ticker.busy_ms:.1f}"
    if told is None:
        print(f"| {name} | - | - | - | - | {late} |", flush=True)
        return
    took: list[float] = told["ms"]  # type: ignore[assignment]
    size = int(told["bytes"]) / 1e6  # type: ignore[call-overload]
    row = f"{statistics.median(took):.1f} | {max(took):.1f} | {cpu_ms / (rounds + 1):.1f} | {size:.3f}"
    print(f"| {name} | {row} | {late} |", flush=True)


async def run(miners: int, rounds: int, pause_s: float) -> None:
    moment = moment_of(miners)
    writer = MinerMetrics(moment[0])
    writer.observe(*moment[1:])
    gauges = gauges_of(moment)
    gc.collect()
    gc.freeze()  # as the daemon does
    idle = [asyncio.create_task(asyncio.Event().wait()) for _ in range(miners)]

    async def in_a_thread() -> AsyncGenerator[str, None]:
        """Our own text, written whole by another thread."""
        yield await asyncio.to_thread(lambda: "".join(writer.slices()))

    async def at_once() -> AsyncGenerator[str, None]:
        yield "".join(writer.slices())

    async def row(name: str, server: Callable[[], AbstractAsyncContextManager[int]], packed: str = "gzip") -> None:
        async with server() as port:
            await measured(name, rounds, lambda: scrape(port, rounds, packed, pause_s))

    print("| page and server | scrape p50 ms | max ms | CPU ms | MB | loop late max ms | p99.9 ms | busy max ms |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    await measured("nobody asks", rounds, lambda: asyncio.sleep(rounds * pause_s + 0.1))
    await row(f"**`/metrics/miners`, {miners} miners: ours**", lambda: ours(writer.page))
    await row("the same, not packed", lambda: ours(writer.page), "plain")
    await row("our text, not in slices", lambda: ours(at_once))
    await row("our text, written in a thread", lambda: ours(in_a_thread))
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    await row("the same, switch interval 0.5 instead of 5 ms", lambda: ours(in_a_thread))
    sys.setswitchinterval(usual_s)
    await row("prometheus-client, gauges, its threads", lambda: stock(gauges))
    arrays = CollectorRegistry()
    arrays.register(FromArrays(moment))
    await row("prometheus-client, custom collector, its threads", lambda: stock(arrays))
    metrics = daemon_metrics(moment)
    registry = CollectorRegistry()
    for collector in metrics.collectors():
        registry.register(collector)
    await row("**`/metrics`: ours**", lambda: ours(metrics.page))
    await row("the same, prometheus-client's threads", lambda: stock(registry))
    for task in idle:
        task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--miners", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20, help="scrapes of each page")
    parser.add_argument("--pause", type=float, default=KEPT_S + 0.05, help="seconds between; below that pages repeat")
    wish = parser.parse_args()
    asyncio.run(run(wish.miners, wish.rounds, wish.pause))


if __name__ == "__main__":
    main()
