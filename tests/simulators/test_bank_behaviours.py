"""Simulated miners that do not do as they are told, and reboots."""

import numpy as np
import pytest

from simulators.asic.bank import MinerBank
from simulators.asic.fleet import behaviour_name, mixed_fleet
from simulators.asic.models import MODELS
from simulators.asic.response import Answer, Behaviour, Mode, Phase
from simulators.asic.spec import FleetSpec

MODEL = MODELS["s19jpro"]
PLATE_W = MODEL.nameplate.power_w


def one(behaviour: Behaviour = Behaviour.OBEYS, *, asleep: bool = False) -> MinerBank:
    return MinerBank(FleetSpec(models=[MODEL], seed=3, asleep=[asleep], behaviours=[behaviour]))


def run(bank: MinerBank, seconds: float) -> None:
    for _ in range(round(seconds / 0.2)):
        bank.step(0.2)


def test_a_liar_acknowledges_sleep_says_it_sleeps_and_draws_as_before() -> None:
    bank = one(Behaviour.LIAR_SLEEP)
    assert bank.command_sleep(0) is Answer.ACKNOWLEDGED
    run(bank, 30.0)
    assert bank.mode[0] == Mode.SLEEP
    assert bank.true_power_w[0] == PLATE_W
    assert bank.reported_power_w[0] == pytest.approx(PLATE_W, rel=0.12)
    assert bank.reported_hashrate_th[0] > 0.9 * MODEL.nameplate.hashrate_th
    assert not bank.is_asleep[0]


def test_a_never_waker_acknowledges_wake_says_it_is_awake_and_stays_at_sleep_watts() -> None:
    bank = one(Behaviour.NEVER_WAKES, asleep=True)
    assert bank.command_wake(0) is Answer.ACKNOWLEDGED
    run(bank, 300.0)
    assert bank.mode[0] == Mode.HASH
    assert bank.true_power_w[0] == MODEL.sleep_power_w
    assert bank.reported_hashrate_th[0] == 0.0


def test_a_never_waker_that_hashes_can_be_put_to_sleep_once() -> None:
    bank = one(Behaviour.NEVER_WAKES)
    bank.command_sleep(0)
    run(bank, 20.0)
    assert bank.is_asleep[0]
    bank.command_wake(0)
    run(bank, 120.0)
    assert bank.is_asleep[0]


def test_a_refuser_refuses_every_write_and_does_nothing() -> None:
    bank = one(Behaviour.REFUSES)
    answers = [bank.command_sleep(0), bank.command_profile(0, 0), bank.reboot(0), bank.command_wake(0)]
    assert answers == [Answer.REFUSED] * 4
    run(bank, 30.0)
    assert bank.mode[0] == Mode.HASH
    assert bank.true_power_w[0] == PLATE_W


def test_a_group_command_answers_miner_by_miner() -> None:
    bank = MinerBank(
        FleetSpec(models=[MODEL] * 3, seed=1, behaviours=[Behaviour.OBEYS, Behaviour.REFUSES, Behaviour.LIAR_SLEEP])
    )
    answers = bank.command_sleep_many(np.array([2, 1, 0]))
    assert list(answers) == [Answer.ACKNOWLEDGED, Answer.REFUSED, Answer.ACKNOWLEDGED]
    run(bank, 20.0)
    assert list(bank.is_asleep) == [True, False, False]


def test_sleep_survives_a_reboot() -> None:
    bank = one(asleep=True)
    assert bank.reboot(0) is Answer.ACKNOWLEDGED
    assert bank.phase[0] == Phase.REBOOTING
    assert bank.is_rebooting[0]
    run(bank, 120.0)
    assert bank.mode[0] == Mode.SLEEP
    assert bank.is_asleep[0]
    assert not bank.is_rebooting[0]


@pytest.mark.parametrize(("key", "asleep"), [("s21", True), ("s19pro", True), ("m50s", False)])
def test_who_comes_back_asleep_from_a_blackout(key: str, asleep: bool) -> None:
    """LuxOS says that sleep survives, an Antminer has it in flash; WhatsMiners are reported to boot into hashing."""
    bank = MinerBank(FleetSpec(models=[MODELS[key]], seed=3, asleep=[True]))
    bank.reboot(0)
    run(bank, 240.0)
    assert bool(bank.is_asleep[0]) is asleep
    assert (bank.true_power_w[0] > 1_000.0) is not asleep


def test_a_reboot_drops_the_load_and_brings_it_back_at_the_same_profile() -> None:
    bank = one()
    bank.command_profile(0, 2)
    run(bank, 20.0)
    bank.reboot(0)
    run(bank, 10.0)
    assert bank.true_power_w[0] == pytest.approx(MODEL.idle_power_w)
    assert bank.uptime_s[0] == pytest.approx(10.0)
    run(bank, 120.0)
    assert bank.true_power_w[0] == MODEL.profiles[2].power_w


def test_a_never_waker_does_not_come_back_from_a_reboot() -> None:
    bank = one(Behaviour.NEVER_WAKES)
    bank.reboot(0)
    run(bank, 180.0)
    assert bank.true_power_w[0] == MODEL.sleep_power_w


def test_what_is_commanded_during_a_reboot_holds_after_it() -> None:
    slept, woken = one(), one(asleep=True)
    for bank in (slept, woken):
        bank.reboot(0)
        run(bank, 2.0)
    slept.command_sleep(0)
    woken.command_wake(0)
    run(slept, 120.0)
    run(woken, 120.0)
    assert slept.is_asleep[0]
    assert woken.true_power_w[0] == PLATE_W


def test_a_mixed_fleet_puts_the_least_efficient_to_sleep_and_deals_each_oddity_once() -> None:
    spec = mixed_fleet(40, seed=5, asleep=20, liars=2, never_wakers=3, refusers=4)
    bank = MinerBank(spec)
    efficiency = np.array([model.efficiency_j_per_th for model in spec.models])
    sleeping = bank.mode == Mode.SLEEP
    assert efficiency[sleeping].min() >= efficiency[~sleeping].max()
    counts = {flag: int((bank.behaviour == flag).sum()) for flag in Behaviour}
    assert {flag: count for flag, count in counts.items() if count} == {
        Behaviour.LIAR_SLEEP: 2,
        Behaviour.NEVER_WAKES: 3,
        Behaviour.REFUSES: 4,
    }
    assert sleeping[bank.behaviour == Behaviour.NEVER_WAKES].all()
    again = mixed_fleet(40, seed=5, asleep=20, liars=2, never_wakers=3, refusers=4)
    assert again.behaviours == spec.behaviours


def test_a_mixed_fleet_with_more_oddities_than_miners_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        mixed_fleet(3, seed=1, liars=2, refusers=2)
    with pytest.raises(ValueError, match="unknown models"):
        mixed_fleet(3, seed=1, model_keys=["s9"])


def test_behaviours_have_names() -> None:
    assert behaviour_name(Behaviour.OBEYS) == "obeys"
    assert behaviour_name(Behaviour.LIAR_SLEEP | Behaviour.NEVER_WAKES) == "liar-sleep+never-wakes"


@pytest.mark.parametrize("key", ["s21", "m60s", "s19pro"])
def test_without_work_a_miner_idles_by_itself_and_hashes_again_when_there_is_some(key: str) -> None:
    model = MODELS[key]
    bank = MinerBank(FleetSpec(models=[model, model], seed=3, boot_overshoot=0.0))
    bank.set_work(np.array([0]), False)
    run(bank, 400.0)
    assert bank.true_power_w.tolist() == pytest.approx([model.idle_power_w, model.nameplate.power_w])
    assert (bank.reported_hashrate_th[0], bank.boards_on[0], bank.mode[0]) == (0.0, True, Mode.HASH)
    bank.command_sleep(0)
    run(bank, 60.0)
    assert bank.true_power_w[0] == pytest.approx(model.sleep_power_w)
    bank.command_wake(0)
    run(bank, 400.0)
    assert bank.true_power_w[0] == pytest.approx(model.idle_power_w)
    bank.set_work(np.array([0]), True)
    run(bank, 400.0)
    assert bank.true_power_w[0] == pytest.approx(model.nameplate.power_w)
