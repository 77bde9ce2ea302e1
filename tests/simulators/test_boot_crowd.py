"""Miners that boot in a crowd: as many come up as the supply carries, by seed, and waves come up whole."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.asic.bank import MinerBank
from simulators.asic.crowd import FIELD_TOGETHER, BootCrowd
from simulators.asic.models import MODELS, Family
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec

FIELD = BootCrowd()
KEYS = {model.family: key for key, model in MODELS.items()}


def bank(count, *, seed=1, crowd=FIELD, family=Family.LUXOS, **more):
    model = MODELS[KEYS[family]]
    return MinerBank(FleetSpec(models=[model] * count, seed=seed, asleep=[True] * count, boot_crowd=crowd, **more))


def woken(miners, who, seconds=150.0, dt_s=0.5):
    miners.command_wake_many(np.asarray(who))
    for _ in range(round(seconds / dt_s)):
        miners.step(dt_s)
    return float(miners.boards_on[who].mean())


def test_the_law_says_both_figures_of_the_field():
    crowd = BootCrowd()
    assert crowd.share(np.array([1, 80, FIELD_TOGETHER, 300])) == pytest.approx([1.0, 1.0, 0.57, 0.32], abs=0.005)
    with pytest.raises(ValueError, match="at least one"):
        BootCrowd(0)


@pytest.mark.parametrize("family", list(Family))
def test_of_171_that_start_at_once_57_percent_come_up(family):
    shares = [woken(bank(171, seed=seed, family=family), np.arange(171)) for seed in range(8)]
    assert np.mean(shares) == pytest.approx(0.57, abs=0.06)  # the last ones start among fewer
    assert len(set(shares)) > 1


def test_a_wave_of_80_comes_up_whole_and_without_the_option_so_does_a_crowd():
    assert woken(bank(171), np.arange(80)) == 1.0
    assert woken(bank(171, crowd=None), np.arange(171)) == 1.0


def test_each_feeder_carries_its_own():
    miners = bank(180, feeder=[index % 3 for index in range(180)])
    assert woken(miners, np.arange(180)) == 1.0


def test_who_failed_sleeps_on_says_it_is_awake_and_boots_when_it_is_woken_again():
    miners = bank(171)
    woken(miners, np.arange(171))
    failed = np.flatnonzero(~miners.boards_on)
    assert miners.boot_failed[failed].all()
    assert miners.true_power_w[failed] == pytest.approx(miners.sleep_power_w[failed])
    assert woken(miners, failed[:60]) == 1.0
    assert not miners.boot_failed[failed[:60]].any()


def test_a_feeder_that_gets_its_power_back_starts_a_crowd_as_well():
    miners = bank(171)
    for one in range(171):
        miners.lose_power(one)
        miners.mode[one] = 0
    miners.step(1.0)
    for one in range(171):
        miners.get_power(one)
    for _ in range(400):
        miners.step(0.5)
    assert 0.4 < miners.boards_on.mean() < 0.8


def test_the_same_seed_loses_the_same_miners_and_another_one_others():
    first, again, other = bank(171, seed=5), bank(171, seed=5), bank(171, seed=6)
    for miners in (first, again, other):
        woken(miners, np.arange(171))
    assert (first.boards_on == again.boards_on).all()
    assert (other.boards_on != first.boards_on).any()


def test_a_never_waker_is_no_crowd():
    behaviours = [Behaviour.NEVER_WAKES] * 100 + [Behaviour.OBEYS] * 90
    miners = bank(190, behaviours=behaviours)
    assert woken(miners, np.arange(190)) == pytest.approx(90 / 190)
