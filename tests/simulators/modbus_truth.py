"""A plant in calm, exact meters of it, and what their registers hold."""

from __future__ import annotations

import struct
from dataclasses import replace

from simulators.modbus_server import RegisterBank
from simulators.plant import Plant, PlantTruth
from simulators.scenario import DEMO_INSTRUMENTS, DEMO_PLANT

EXACT = replace(DEMO_INSTRUMENTS.poi, noise_fraction=0.0)
EXACT_SITE = replace(DEMO_INSTRUMENTS.site, noise_fraction=0.0)


class Steady:
    """A surplus that can be set by hand."""

    def __init__(self, surplus_w: float) -> None:
        self.now_w = surplus_w

    def surplus_w(self, t_s: float) -> float:
        return self.now_w


def truth_now(miners_w: float = 200e3) -> PlantTruth:
    return Plant(DEMO_PLANT, Steady(250e3), seed=1).step(1.0, (miners_w / 2, miners_w / 2))


def read(bank: RegisterBank, address: int, shape: str) -> float:
    data = bank.read(address, struct.calcsize(shape) // 2)
    assert data is not None
    return float(struct.unpack(">" + shape, data)[0])
