"""How the power of simulated miners moves: dead times, curves, sleep watts, reports."""

import time

import numpy as np
import pytest

from simulators.asic.bank import MinerBank
from simulators.asic.curves import boot_fraction, exponential_fraction
from simulators.asic.models import MODELS, Family, keys_of
from simulators.asic.response import LUXOS_RESPONSE, Phase
from simulators.asic.spec import FleetSpec

S19K = MODELS["s19kpro"]
S21 = MODELS["s21"]


def fleet(count: int, *, seed: int = 7, asleep: bool = False, **more: object) -> MinerBank:
    return MinerBank(FleetSpec(models=[S19K] * count, seed=seed, asleep=[asleep] * count, **more))  # type: ignore[arg-type]


def run(bank: MinerBank, seconds: float, dt_s: float = 0.1) -> None:
    for _ in range(round(seconds / dt_s)):
        bank.step(dt_s)


def seconds_to_90_percent(bank: MinerBank, start_w: np.ndarray, goal_w: np.ndarray, limit_s: float) -> np.ndarray:
    """When each miner first was 90 % of the way from `start_w` to `goal_w`, to 0.05 s."""
    arrived = np.full(bank.count, np.inf)
    for tick in range(1, round(limit_s / 0.05) + 1):
        bank.step(0.05)
        there = np.abs(bank.true_power_w - start_w) >= 0.9 * np.abs(goal_w - start_w)
        arrived = np.where(there & np.isinf(arrived), tick * 0.05, arrived)
    return arrived


@pytest.mark.parametrize(
    ("family", "count", "nameplate"),
    [(Family.LUXOS, 4, "default"), (Family.WHATSMINER, 3, "100"), (Family.ANTMINER, 3, "normal")],
)
def test_the_models_of_a_family_span_classes_of_efficiency_and_their_ladders_rise(
    family: Family, count: int, nameplate: str
) -> None:
    models = [MODELS[key] for key in keys_of(family)]
    efficiencies = [model.efficiency_j_per_th for model in models]
    assert len(models) == count
    assert efficiencies == sorted(efficiencies)
    assert 17 < efficiencies[0] < 19
    assert 29 < efficiencies[-1] <= 31
    for model in models:
        powers = [rung.power_w for rung in model.profiles]
        yields = [rung.hashrate_th for rung in model.profiles]
        assert (powers, yields) == (sorted(set(powers)), sorted(set(yields)))
        assert model.nameplate.name == nameplate
        assert model.profile_index(nameplate) == model.default_profile
        assert model.profile_index("no such rung") is None


def test_a_curve_passes_ninety_percent_at_its_stated_time_and_a_boot_starts_slowly() -> None:
    at = np.array([0.1, 1.0])
    exponential, boot = exponential_fraction(at), boot_fraction(at, np.zeros(2))
    assert exponential[1] == pytest.approx(0.9)
    assert boot[1] == pytest.approx(0.9, abs=1e-6)
    assert boot[0] < 0.05 < exponential[0]


def test_no_watt_moves_within_the_shortest_dead_time() -> None:
    bank = fleet(500)
    bank.command_sleep_many(np.arange(500))
    run(bank, 0.5 - 0.05, dt_s=0.05)
    assert np.all(bank.true_power_w == S19K.nameplate.power_w)
    assert np.all(bank.phase == Phase.DEAD_TIME)


@pytest.mark.parametrize("verb", ["sleep", "wake", "profile"])
def test_a_fleet_answers_within_the_nominal_spans_and_not_in_step(verb: str) -> None:
    bank = fleet(500, asleep=verb == "wake", boot_overshoot=0.0)
    everybody, response, start_w = np.arange(500), getattr(LUXOS_RESPONSE, verb), bank.true_power_w.copy()
    if verb == "sleep":
        bank.command_sleep_many(everybody)
        goal_w = bank.sleep_power_w
    elif verb == "wake":
        bank.command_wake_many(everybody)
        goal_w = np.full(500, float(S19K.nameplate.power_w))
    else:
        bank.command_profile_many(everybody, np.full(500, 4))
        goal_w = np.full(500, float(S19K.profiles[4].power_w))

    arrived_s = seconds_to_90_percent(bank, start_w, goal_w, response.slowest_total_s + 0.2)
    quickest_s = response.dead_time.low_s + response.to_90_percent.low_s
    assert arrived_s.min() >= quickest_s - 1e-6
    assert arrived_s.max() <= response.slowest_total_s + 0.1
    assert arrived_s.std() > 0.1 * (response.slowest_total_s - quickest_s)

    run(bank, 60.0)
    assert np.all(bank.true_power_w == goal_w)


def test_a_boot_overshoots_a_little_and_settles_on_the_profile() -> None:
    bank = fleet(200, asleep=True, boot_overshoot=0.03)
    bank.command_wake_many(np.arange(200))
    peak_w = np.zeros(200)
    for _ in range(500):
        bank.step(0.1)
        peak_w = np.maximum(peak_w, bank.true_power_w)
    plate_w = S19K.nameplate.power_w
    assert peak_w.max() > 1.01 * plate_w
    assert peak_w.max() <= 1.03 * plate_w
    assert np.all(bank.true_power_w == plate_w)


def test_asleep_means_boards_off_and_nearly_down_not_what_the_firmware_says() -> None:
    bank = fleet(1)
    bank.command_sleep(0)
    assert not bank.is_asleep[0]
    run(bank, 20.0)
    assert bank.is_asleep[0]
    assert bank.true_power_w[0] == S19K.sleep_power_w
    assert bank.true_power_w.sum() == S19K.sleep_power_w
    assert bank.phase[0] == Phase.ASLEEP


def test_the_size_of_a_step_does_not_change_where_power_stands() -> None:
    fine, coarse = fleet(50), fleet(50)
    for bank, dt_s in ((fine, 0.01), (coarse, 0.5)):
        bank.command_sleep_many(np.arange(50))
        run(bank, 2.0, dt_s)
        bank.command_wake_many(np.arange(50))
        run(bank, 9.0, dt_s)
    np.testing.assert_allclose(fine.true_power_w, coarse.true_power_w, rtol=1e-9)


def test_repeating_a_command_does_not_start_its_dead_time_again() -> None:
    once, nagged = fleet(20), fleet(20)
    for bank in (once, nagged):
        bank.command_sleep_many(np.arange(20))
    for _ in range(100):
        once.step(0.1)
        nagged.command_sleep_many(np.arange(20))
        nagged.step(0.1)
    assert np.array_equal(once.true_power_w, nagged.true_power_w)


def test_a_wake_within_the_dead_time_of_a_sleep_cancels_it() -> None:
    bank = fleet(1)
    bank.command_sleep(0)
    bank.step(0.2)
    bank.command_wake(0)
    run(bank, 30.0)
    assert bank.true_power_w[0] == S19K.nameplate.power_w


def test_a_profile_set_while_asleep_applies_at_the_next_wake() -> None:
    bank = fleet(1, asleep=True)
    bank.command_profile(0, 4)
    run(bank, 20.0)
    assert bank.true_power_w[0] == S19K.sleep_power_w
    bank.command_wake(0)
    run(bank, 60.0)
    assert bank.true_power_w[0] == S19K.profiles[4].power_w


def test_a_profile_set_before_a_cancelled_sleep_is_not_lost() -> None:
    bank = fleet(1)
    bank.command_profile(0, 4)
    bank.command_sleep(0)
    bank.command_wake(0)
    run(bank, 30.0)
    assert bank.true_power_w[0] == S19K.profiles[4].power_w


def test_a_trim_during_a_boot_ends_at_the_new_profile_without_a_jump() -> None:
    bank = fleet(100, asleep=True, boot_overshoot=0.0)
    bank.command_wake_many(np.arange(100))
    run(bank, 9.0)
    bank.command_profile_many(np.arange(100), np.full(100, 4))
    largest_move_w = 0.0
    for _ in range(600):
        before_w = bank.true_power_w.copy()
        bank.step(0.1)
        largest_move_w = max(largest_move_w, float(np.abs(bank.true_power_w - before_w).max()))
    assert np.all(bank.true_power_w == S19K.profiles[4].power_w)
    assert largest_move_w < 0.15 * S19K.nameplate.power_w


def test_hash_rate_trails_power_and_falls_to_nothing() -> None:
    bank = fleet(1)
    bank.command_sleep(0)
    while bank.true_power_w[0] > 0.5 * S19K.nameplate.power_w:
        bank.step(0.05)
    assert bank.hashrate_th[0] > 0.5 * S19K.nameplate.hashrate_th
    run(bank, 30.0)
    assert bank.reported_hashrate_th[0] == 0.0


def test_temperature_falls_towards_ambient_when_a_miner_sleeps() -> None:
    bank = fleet(1)
    warm_c = bank.temperature_c[0]
    bank.command_sleep(0)
    run(bank, 600.0, dt_s=1.0)
    assert warm_c == pytest.approx(65.0, abs=1.0)
    assert bank.temperature_c[0] == pytest.approx(25.0, abs=1.0)


def test_reports_are_off_by_a_fixed_bias_and_a_little_noise() -> None:
    bank = fleet(2_000)
    samples = []
    for _ in range(50):
        bank.step(1.0)
        samples.append(bank.reported_power_w / bank.true_power_w - 1.0)
    offsets = np.array(samples)
    per_miner = offsets.mean(axis=0)
    assert per_miner.std() == pytest.approx(0.03, rel=0.1)
    assert np.abs(bank.report_bias).max() <= 0.10
    assert (offsets - per_miner).std() == pytest.approx(0.005, rel=0.1)


def test_a_miner_draws_what_it_draws_whatever_its_nameplate_and_its_firmware_say() -> None:
    spec = FleetSpec(
        models=[S21] * 2,
        seed=1,
        report_bias_sigma=0.0,
        report_noise_sigma=0.0,
        draw_ratio=[0.95, 1.04],
        report_ratio=[1.10, 1.0],
    )
    bank = MinerBank(spec)
    nameplate_w = S21.nameplate.power_w
    assert bank.true_power_w.tolist() == pytest.approx([0.95 * nameplate_w, 1.04 * nameplate_w])
    assert bank.reported_power_w.tolist() == pytest.approx([1.10 * 0.95 * nameplate_w, 1.04 * nameplate_w])
    bank.command_profile(0, 0)
    run(bank, 30.0)
    assert bank.true_power_w[0] == pytest.approx(0.95 * S21.profiles[0].power_w, rel=1e-3)


def test_a_report_stands_for_about_a_second() -> None:
    bank = fleet(100)
    first = bank.reported_power_w.copy()
    changed_after = np.zeros(100)
    for tick in range(1, 12):
        bank.step(0.1)
        changed_after = np.where((bank.reported_power_w != first) & (changed_after == 0), tick, changed_after)
    assert np.all(changed_after > 0)
    assert len(set(changed_after)) > 5  # not all at the same moment


def test_the_same_seed_gives_the_same_numbers_and_another_seed_does_not() -> None:
    def story(seed: int) -> np.ndarray:
        bank = fleet(100, seed=seed)
        bank.command_sleep_many(np.arange(50))
        run(bank, 3.0)
        bank.command_wake_many(np.arange(25))
        run(bank, 10.0)
        return np.concatenate([bank.true_power_w, bank.reported_power_w, bank.hashrate_th])

    assert np.array_equal(story(1), story(1))
    assert not np.array_equal(story(1), story(2))


def test_commands_do_not_change_the_noise_of_the_reports() -> None:
    quiet, busy = fleet(2), fleet(2)
    busy.command_sleep(0)
    run(quiet, 5.0)
    run(busy, 5.0)
    assert quiet.reported_power_w[1] == busy.reported_power_w[1]


def test_a_slow_miner_takes_its_scale_as_long() -> None:
    bank = fleet(400, response_scale=[1.0] * 200 + [4.0] * 200)
    bank.command_sleep_many(np.arange(400))
    arrived_s = seconds_to_90_percent(bank, bank.true_power_w.copy(), bank.sleep_power_w, 20.0)
    assert arrived_s[200:].mean() == pytest.approx(4.0 * arrived_s[:200].mean(), rel=0.05)


def test_a_step_back_in_time_is_refused() -> None:
    with pytest.raises(ValueError, match="forward"):
        fleet(1).step(-0.1)


def test_a_fleet_spec_with_a_list_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="asleep has 1 entries for 2 miners"):
        FleetSpec(models=[S19K, S21], seed=1, asleep=[True])


def test_a_profile_outside_the_ladder_of_its_model_is_refused() -> None:
    bank = MinerBank(FleetSpec(models=[S21, S19K], seed=1))
    with pytest.raises(ValueError, match="ladder"):
        bank.command_profile(0, len(S21.profiles))
    with pytest.raises(ValueError, match="ladder"):
        MinerBank(FleetSpec(models=[S21], seed=1, profile_index=[-1]))


def test_the_speed_of_a_step_is_printed() -> None:
    bank = fleet(5_000)
    bank.command_sleep_many(np.arange(2_500))
    started_s, steps = time.perf_counter(), 100
    run(bank, steps * 0.1)
    print(f"\n5,000 miners, half of them moving: {(time.perf_counter() - started_s) / steps * 1e3:.2f} ms per step")
    assert bank.is_asleep[:2_500].all()
