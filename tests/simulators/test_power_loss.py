"""A miner whose feeder is dead draws nothing and answers nobody; with power again it starts by itself."""

import asyncio

import numpy as np
import pytest

from simulators.asic.bank import MinerBank
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS, Family
from simulators.asic.response import Behaviour, Mode
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from tests.simulators.luxos_client import answers, exchange

LUXOS = MODELS["s21"]
WHATSMINER = next(model for model in MODELS.values() if model.family is Family.WHATSMINER)


def run(bank: MinerBank, seconds: float) -> list[float]:
    """True watts of miner 0, every half second."""
    watts = []
    for _ in range(round(seconds / 0.5)):
        bank.step(0.5)
        watts.append(float(bank.true_power_w[0]))
    return watts


def test_it_is_dark_for_as_long_as_the_power_is_gone() -> None:
    bank = MinerBank(FleetSpec(models=[LUXOS], seed=1))
    bank.lose_power(0)
    assert run(bank, 3_600.0) == [0.0] * 7_200
    assert bank.is_rebooting[0]
    assert bank.hashrate_th[0] == 0.0


def test_it_starts_by_itself_first_idle_then_boots_to_the_profile_it_had() -> None:
    bank = MinerBank(FleetSpec(models=[LUXOS], seed=1, profile_index=[1]))
    before_w = float(bank.true_power_w[0])
    bank.lose_power(0)
    run(bank, 60.0)
    bank.get_power(0)
    watts = run(bank, 20.0)
    assert bank.is_rebooting[0]
    assert watts[-1] == pytest.approx(LUXOS.idle_power_w, rel=0.01)
    watts = run(bank, 120.0)
    assert not bank.is_rebooting[0]
    assert watts[-1] == pytest.approx(before_w, rel=0.04)
    assert bank.reboots[0] == 1


def test_a_luxos_that_slept_sleeps_on_and_a_whatsminer_starts_hashing() -> None:
    for model, mode in ((LUXOS, Mode.SLEEP), (WHATSMINER, Mode.HASH)):
        bank = MinerBank(FleetSpec(models=[model], seed=1, asleep=[True]))
        bank.lose_power(0)
        run(bank, 10.0)
        bank.get_power(0)
        watts = run(bank, 300.0)
        assert bank.mode[0] == mode
        expected_w = model.sleep_power_w if mode == Mode.SLEEP else model.nameplate.power_w
        assert watts[-1] == pytest.approx(expected_w, rel=0.04)


def test_no_behaviour_is_asked_and_power_that_never_went_does_nothing() -> None:
    bank = MinerBank(FleetSpec(models=[LUXOS], seed=1, behaviours=[Behaviour.REFUSES]))
    bank.get_power(0)
    run(bank, 1.0)
    assert not bank.is_rebooting[0]
    bank.lose_power(0)
    assert run(bank, 1.0)[-1] == 0.0


async def test_on_the_wire_it_vanishes_resets_while_it_starts_and_answers_again() -> None:
    async with MinerFarm(FleetSpec(models=[LUXOS], seed=2, response_scale=[0.02])) as farm:
        assert await answers(farm)
        farm.faults[0].on(Fault.POWER_LOSS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection(*farm.addresses[0]), 0.2)
        await asyncio.sleep(0.1)
        assert np.all(farm.bank.true_power_w == 0.0)
        farm.faults[0].off(Fault.POWER_LOSS)
        with pytest.raises(ConnectionResetError):
            await exchange(farm)
        await asyncio.sleep(1.2)
        assert not farm.bank.is_rebooting[0]
        assert await answers(farm)
