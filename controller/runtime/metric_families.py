"""The one door of prometheus-client: families of figures, and the page on which Prometheus reads them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram, Info, Metric, ProcessCollector
from prometheus_client.registry import Collector

__all__ = ["Collector", "Counter", "Families"]

PREFIX = "curtaild"


class Families:
    """All families of one daemon, in the order in which they were asked for; `process` comes by itself."""

    def __init__(self) -> None:
        # A second series for every counter, of no use to anybody here.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it unannotated
        self._plain: list[Collector] = []  # a sample each, but for the histogram's buckets
        self._labelled: list[Collector] = []
        self._process = ProcessCollector(namespace=PREFIX, registry=None)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """NaN until somebody has a figure."""
        gauge = Gauge(name, text, labels, namespace=PREFIX, registry=None)
        if not labels:
            gauge.set(math.nan)
        (self._labelled if labels else self._plain).append(gauge)
        return gauge

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(name, text, labels, namespace=PREFIX, registry=None)
        (self._labelled if labels else self._plain).append(counter)
        return counter

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        histogram = Histogram(name, text, namespace=PREFIX, buckets=buckets, registry=None)
        self._plain.append(histogram)
        return histogram

    def info(self, name: str, text: str, facts: Mapping[str, str]) -> None:
        info = Info(name, text, namespace=PREFIX, registry=None)
        info.info(dict(facts))
        self._plain.append(info)

    def collectors(self) -> tuple[Collector, ...]:
        """All there is, in the order of the page."""
        return (self._process, *self._plain, *self._labelled)

    async def page(self, before: Callable[[], None]) -> AsyncGenerator[str, None]:
        """The page, family by family. All that have no labels are of one moment, and every other is in itself:
        collecting all of it at once takes milliseconds where there are many feeders and classes.

        before: sets what is only looked up for the page.
        """
        # Thousands of open descriptors are listed one by one: a thread waits for the kernel meanwhile.
        yield await asyncio.to_thread(_written, self._process)
        before()
        yield ""
        for family in [family for collector in self._plain for family in collector.collect()]:
            yield _written(_One(family))
        for collector in self._labelled:
            yield _written(collector)


@dataclass(frozen=True, slots=True)
class _One(Collector):
    """A registry of one family, as it was at one moment."""

    family: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.family


def _written(collector: Collector) -> str:
    return prometheus_client.generate_latest(collector).decode()
