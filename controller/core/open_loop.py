"""Without feedback: what miners say of their watts gives way to nameplates, as the site meter does to the configured
auxiliaries. For comparison runs: what is a measured watt worth?"""

from __future__ import annotations

from dataclasses import replace

from controller.domain.fleet import Condition, Fleet, MinerReading

NEAR_RATIO = 0.25
"""Of its rung's nameplate: farther from it a miner boots, or does something else than hash there, and is taken at its
word. What it does is no feedback on how much it draws."""


def nameplates(facts: Fleet, readings: tuple[MinerReading, ...]) -> tuple[MinerReading, ...]:
    """The readings as somebody has them who knows rungs and no watts."""
    return tuple(_at_nameplate(facts, reading) for reading in readings)


def _at_nameplate(facts: Fleet, reading: MinerReading) -> MinerReading:
    if reading.condition is not Condition.HASHING or reading.power_w is None or reading.level is None:
        return reading
    rung_w = float(facts.level_power_w[reading.miner, reading.level])
    near = abs(reading.power_w - rung_w) <= NEAR_RATIO * rung_w
    return replace(reading, power_w=rung_w) if near else reading
