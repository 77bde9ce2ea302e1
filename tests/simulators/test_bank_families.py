"""What the families of firmware do differently: response times, restarts, forgotten profiles, and how they lie."""

import numpy as np
import pytest

from simulators.asic.bank import MinerBank
from simulators.asic.fleet import keys_by_share, mixed_fleet
from simulators.asic.models import LUXOS_MODELS, MODELS, Family, MinerModel
from simulators.asic.response import LUXOS_RESPONSE, Answer, Behaviour, Mode, Phase
from simulators.asic.spec import FleetSpec

LUXOS = MODELS["s19kpro"]
WHATSMINER = MODELS["m50s"]
ANTMINER = MODELS["s19pro"]
ALL = [LUXOS, WHATSMINER, ANTMINER]


def one(model: MinerModel, behaviour: Behaviour = Behaviour.OBEYS, *, asleep: bool = False) -> MinerBank:
    return MinerBank(FleetSpec(models=[model], seed=3, asleep=[asleep], behaviours=[behaviour]))


def run(bank: MinerBank, seconds: float) -> None:
    for _ in range(round(seconds / 0.1)):
        bank.step(0.1)


def seconds_until_moved(bank: MinerBank, fraction: float, goal_w: float, limit_s: float) -> np.ndarray:
    """When each miner was `fraction` of its way to `goal_w`."""
    start_w = bank.true_power_w.copy()
    arrived = np.full(bank.count, np.inf)
    for tick in range(1, round(limit_s / 0.1) + 1):
        bank.step(0.1)
        there = np.abs(bank.true_power_w - start_w) >= fraction * np.abs(goal_w - start_w)
        arrived = np.where(there & np.isinf(arrived), tick * 0.1, arrived)
    return arrived


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.family)
@pytest.mark.parametrize("verb", ["sleep", "wake"])
def test_every_miner_answers_within_the_spans_of_its_own_family(model: MinerModel, verb: str) -> None:
    """In one bank with the other families, as every mixed fleet is."""
    mine, count = np.arange(0, 600, 3), 600
    models = [model if i % 3 == 0 else ALL[i % 3] for i in range(count)]
    asleep = [verb == "wake"] * count
    bank = MinerBank(FleetSpec(models=models, seed=5, asleep=asleep, boot_overshoot=0.0))
    if verb == "sleep":
        bank.command_sleep_many(np.arange(count))
        goal_w = model.sleep_power_w
    else:
        bank.command_wake_many(np.arange(count))
        goal_w = float(model.nameplate.power_w)
    response = getattr(model.response, verb)
    arrived_s = seconds_until_moved(bank, 0.9, goal_w, response.slowest_total_s + 1.0)[mine]
    assert arrived_s.min() >= response.dead_time.low_s + response.to_90_percent.low_s - 0.11
    assert arrived_s.max() <= response.slowest_total_s + 0.11
    assert arrived_s.mean() == pytest.approx(response.nominal_total_s, rel=0.2)


def test_a_fleet_may_be_given_response_times_of_its_own() -> None:
    bank = MinerBank(FleetSpec(models=[ANTMINER] * 50, seed=5, response=LUXOS_RESPONSE))
    bank.command_sleep_many(np.arange(50))
    arrived_s = seconds_until_moved(bank, 0.9, ANTMINER.sleep_power_w, 10.0)
    assert arrived_s.max() <= LUXOS_RESPONSE.sleep.slowest_total_s + 0.1


def test_a_restart_stops_hashing_at_once_boots_after_a_dead_time_and_answers_all_along() -> None:
    bank = one(ANTMINER)
    assert bank.command_restart(0) is Answer.ACKNOWLEDGED
    run(bank, 2.0)
    assert bank.true_power_w[0] == pytest.approx(ANTMINER.idle_power_w, abs=1.0)
    assert bank.phase[0] == Phase.DEAD_TIME
    assert not bank.is_rebooting[0]
    assert bank.uptime_s[0] == pytest.approx(2.0)
    run(bank, ANTMINER.response.wake.dead_time.low_s - 2.5)
    assert bank.true_power_w[0] == pytest.approx(ANTMINER.idle_power_w)
    run(bank, 200.0)
    assert bank.true_power_w[0] == ANTMINER.nameplate.power_w
    assert bank.mode[0] == Mode.HASH


def test_a_restart_takes_a_profile_and_keeps_the_old_one_when_none_is_given() -> None:
    bank = one(ANTMINER)
    bank.command_restart(0, 0)
    run(bank, 200.0)
    assert bank.true_power_w[0] == ANTMINER.profiles[0].power_w
    bank.command_restart(0)
    run(bank, 200.0)
    assert bank.true_power_w[0] == ANTMINER.profiles[0].power_w
    with pytest.raises(ValueError, match="ladder"):
        bank.command_restart(0, 2)


def test_a_restart_into_sleep_goes_down_like_a_sleep_and_into_hashing_wakes() -> None:
    bank = one(ANTMINER)
    bank.command_restart(0, asleep=True)
    assert bank.mode[0] == Mode.SLEEP
    run(bank, ANTMINER.response.sleep.dead_time.low_s - 0.1)
    assert bank.true_power_w[0] == ANTMINER.nameplate.power_w
    run(bank, 30.0)
    assert bank.is_asleep[0]
    bank.command_restart(0)  # still configured to sleep
    run(bank, 200.0)
    assert bank.is_asleep[0]
    bank.command_restart(0, asleep=False)
    run(bank, 200.0)
    assert bank.true_power_w[0] == ANTMINER.nameplate.power_w


@pytest.mark.parametrize("by_restart", [True, False], ids=["restart", "sleep"])
def test_a_miner_that_is_put_to_sleep_between_restart_and_boot_ends_at_sleep_watts(by_restart: bool) -> None:
    bank = one(ANTMINER)
    bank.command_restart(0)
    run(bank, 5.0)
    if by_restart:
        bank.command_restart(0, asleep=True)
    else:
        bank.command_sleep(0)
    run(bank, 200.0)
    assert bank.true_power_w[0] == ANTMINER.sleep_power_w
    assert bank.is_asleep[0]


def test_a_second_restart_begins_the_dead_time_again() -> None:
    bank = one(ANTMINER)
    bank.command_restart(0)
    for _ in range(10):
        run(bank, 10.0)
        bank.command_restart(0)
    assert bank.true_power_w[0] == pytest.approx(ANTMINER.idle_power_w)


def test_a_restart_during_a_reboot_decides_how_the_reboot_ends() -> None:
    bank = one(ANTMINER)
    bank.reboot(0)
    run(bank, 5.0)
    bank.command_restart(0, asleep=True)
    assert bank.is_rebooting[0]
    run(bank, 200.0)
    assert bank.is_asleep[0]


@pytest.mark.parametrize("way", ["sleep", "restart", "reboot"])
def test_a_whatsminer_forgets_its_percent_whenever_its_process_starts_anew(way: str) -> None:
    bank = one(WHATSMINER)
    bank.command_profile(0, 4)
    run(bank, 20.0)
    assert bank.true_power_w[0] == WHATSMINER.profiles[4].power_w
    if way == "sleep":
        bank.command_sleep(0)
        run(bank, 20.0)
        bank.command_wake(0)
    elif way == "restart":
        bank.command_restart(0)
    else:
        bank.reboot(0)
    run(bank, 200.0)
    assert bank.true_power_w[0] == WHATSMINER.nameplate.power_w
    assert bank.profile_index[0] == WHATSMINER.default_profile


def test_a_whatsminer_comes_back_at_the_limit_it_was_configured_with() -> None:
    bank = one(WHATSMINER)
    bank.command_restart(0, 6)
    run(bank, 100.0)
    bank.command_profile(0, 2)
    bank.command_sleep(0)
    run(bank, 20.0)
    bank.command_wake(0)
    run(bank, 100.0)
    assert bank.true_power_w[0] == WHATSMINER.profiles[6].power_w


@pytest.mark.parametrize("model", [LUXOS, ANTMINER], ids=lambda model: model.family)
def test_the_other_families_keep_their_profile_through_a_sleep(model: MinerModel) -> None:
    bank = one(model)
    bank.command_profile(0, 0)
    bank.command_sleep(0)
    run(bank, 20.0)
    bank.command_wake(0)
    run(bank, 200.0)
    assert bank.true_power_w[0] == model.profiles[0].power_w


def test_an_ignorer_acknowledges_everything_and_shows_that_nothing_happened() -> None:
    bank = one(ANTMINER, Behaviour.IGNORES)
    verbs = [
        bank.command_sleep(0),
        bank.command_profile(0, 0),
        bank.command_restart(0, 0, asleep=True),
        bank.reboot(0),
    ]
    assert verbs == [Answer.ACKNOWLEDGED] * 4
    run(bank, 60.0)
    assert bank.mode[0] == Mode.HASH
    assert bank.profile_index[0] == ANTMINER.default_profile
    assert bank.true_power_w[0] == ANTMINER.nameplate.power_w
    assert not bank.is_rebooting[0]


@pytest.mark.parametrize("verb", ["sleep", "restart"])
def test_a_reviver_sleeps_for_some_seconds_and_hashes_again_each_time(verb: str) -> None:
    bank = one(WHATSMINER, Behaviour.REVIVES)
    for _ in range(2):
        if verb == "sleep":
            assert bank.command_sleep(0) is Answer.ACKNOWLEDGED
        else:
            bank.command_restart(0, asleep=True)
        slept_s = 0.0
        for _ in range(1_500):
            bank.step(0.1)
            slept_s += 0.1 * float(not bank.boards_on[0])
        assert slept_s == pytest.approx(5.0, abs=0.3)
        assert bank.mode[0] == Mode.HASH
        assert bank.true_power_w[0] == WHATSMINER.nameplate.power_w


def test_a_reviver_whose_boot_is_cancelled_is_started_by_its_watchdog() -> None:
    bank = one(LUXOS, Behaviour.REVIVES, asleep=True)
    run(bank, 60.0)
    assert bank.is_asleep[0]  # nobody stopped it
    bank.command_wake(0)
    bank.step(0.5)
    bank.command_sleep(0)
    run(bank, 60.0)
    assert bank.true_power_w[0] == LUXOS.nameplate.power_w


def test_a_liar_restarts_into_sleep_and_hashes_on() -> None:
    bank = one(ANTMINER, Behaviour.LIAR_SLEEP)
    bank.command_restart(0, asleep=True)
    run(bank, 30.0)
    assert bank.mode[0] == Mode.SLEEP
    assert bank.true_power_w[0] == ANTMINER.nameplate.power_w


def test_a_never_waker_does_not_come_back_from_a_restart() -> None:
    bank = one(ANTMINER, Behaviour.NEVER_WAKES)
    bank.command_restart(0)
    run(bank, 200.0)
    assert bank.mode[0] == Mode.HASH
    assert bank.true_power_w[0] == ANTMINER.sleep_power_w


def test_a_refuser_does_not_restart() -> None:
    bank = one(ANTMINER, Behaviour.REFUSES)
    assert bank.command_restart(0, asleep=True) is Answer.REFUSED
    run(bank, 30.0)
    assert bank.true_power_w[0] == ANTMINER.nameplate.power_w


def test_a_silent_drawer_shows_sleep_to_everybody_but_the_feeder() -> None:
    bank = one(WHATSMINER, Behaviour.SILENT_DRAW)
    bank.command_sleep(0)
    run(bank, 60.0)
    assert bank.mode[0] == Mode.SLEEP
    assert not bank.boards_on[0]
    assert bank.reported_hashrate_th[0] == 0.0
    assert bank.reported_power_w[0] == pytest.approx(WHATSMINER.sleep_power_w, rel=0.12)
    assert bank.true_power_w[0] == WHATSMINER.nameplate.power_w
    assert not bank.is_asleep[0]


def test_families_are_mixed_evenly_by_their_shares() -> None:
    shares = {Family.WHATSMINER: 40.0, Family.ANTMINER: 35.0, Family.LUXOS: 25.0}
    keys = keys_by_share(1_000, shares)
    dealt = [MODELS[key].family for key in keys]
    assert {family: dealt.count(family) for family in shares} == {
        Family.WHATSMINER: 400,
        Family.ANTMINER: 350,
        Family.LUXOS: 250,
    }
    assert set(keys) == set(MODELS)
    assert set(dealt[:5]) == set(Family)
    assert keys_by_share(8, {Family.LUXOS: 1.0}) == LUXOS_MODELS * 2
    for bad in ({Family.LUXOS: -1.0, Family.ANTMINER: 2.0}, {Family.LUXOS: 0.0}):
        with pytest.raises(ValueError, match="shares"):
            keys_by_share(3, bad)


def test_a_mixed_fleet_deals_the_other_oddities_too() -> None:
    keys = keys_by_share(40, {Family.WHATSMINER: 1.0, Family.ANTMINER: 1.0})
    bank = MinerBank(mixed_fleet(40, seed=5, model_keys=keys, ignorers=3, revivers=2, silent_drawers=1))
    assert int((bank.behaviour == Behaviour.IGNORES).sum()) == 3
    assert int((bank.behaviour == Behaviour.REVIVES).sum()) == 2
    assert int((bank.behaviour == Behaviour.SILENT_DRAW).sum()) == 1
    assert {model.family for model in bank.models} == {Family.WHATSMINER, Family.ANTMINER}
