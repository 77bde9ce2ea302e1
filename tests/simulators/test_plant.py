"""Physics of the plant: the balance holds whatever happens, and the levers do what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from simulators.asic.models import Family
from simulators.feeder import FeederSpec, SiteSpec, feeder_sums_w, site_load
from simulators.plant import Plant, PlantFlags, PlantSpec, PlantTruth, UnitSpec
from simulators.plant_cli import plant_command, vendor_endpoints
from simulators.scenario import DEMO, DEMO_PLANT


@dataclass(frozen=True)
class Steps:
    """A surplus that jumps once."""

    before_w: float
    after_w: float
    at_s: float

    def surplus_w(self, t_s: float) -> float:
        return self.before_w if t_s < self.at_s else self.after_w


STEADY = Steps(250e3, 250e3, 0.0)
MINERS = (100e3, 100e3)


def big_plant() -> PlantSpec:
    """One 660 MW unit on, one off, as in the worked example of the surplus rule: gross 300, aux 25, despatch 230."""
    unit = UnitSpec("1", available_w=620e6, min_stable_w=250e6, ramp_w_per_s=220e3, synchronised=True)
    return replace(
        DEMO_PLANT,
        units=(unit, replace(unit, name="2", synchronised=False)),
        auxiliary_fixed_w=25e6,
        auxiliary_fraction=0.0,
        despatch_base_w=230e6,
        reserve_up_w=30e6,
        site=SiteSpec((FeederSpec("a", 0.0),), auxiliary_w=0.0),
    )


def balance_w(truth: PlantTruth) -> float:
    return truth.gross_w - truth.auxiliary_w - truth.site_load_w - truth.poi_export_w


@given(
    miners_w=st.floats(0, 400e3),
    after_w=st.floats(0, 400e3),
    steps=st.lists(st.floats(0.01, 30.0), min_size=1, max_size=20),
)
def test_the_power_balance_is_exact_at_every_step(miners_w: float, after_w: float, steps: list[float]) -> None:
    plant = Plant(DEMO_PLANT, Steps(200e3, after_w, 10.0), seed=1)
    for dt_s in steps:
        truth = plant.step(dt_s, (miners_w / 2, miners_w / 2))
        assert balance_w(truth) == pytest.approx(0.0, abs=1e-6)


def test_the_surplus_follows_the_signal_within_the_resolution_of_despatch() -> None:
    signal = DEMO.surplus_trace()
    plant = Plant(DEMO_PLANT, signal, seed=1)
    for _ in range(600):
        truth = plant.step(0.5, MINERS)
        assert abs(truth.surplus_w - signal.surplus_w(truth.t_s)) <= 500.0 + 1e-6
        assert truth.despatch_w % 1000.0 == 0.0


def test_despatch_takes_a_jump_that_the_unit_cannot_make() -> None:
    plant = Plant(DEMO_PLANT, Steps(250e3, 150e3, 10.0), seed=1)
    before = plant.step(9.0, MINERS)
    after = plant.step(1.0, MINERS)
    assert after.surplus_w == pytest.approx(150e3, abs=500.0)
    assert after.despatch_w - before.despatch_w == pytest.approx(100e3, rel=0.03)
    assert abs(after.gross_w - before.gross_w) <= 1_100.0 + 1e-6
    assert after.despatch_seq == before.despatch_seq + 1


def test_gross_moves_within_the_ramp_of_its_unit_and_arrives() -> None:
    plant = Plant(DEMO_PLANT, Steps(250e3, 350e3, 1.0), seed=1)
    gross = [plant.step(1.0, MINERS).gross_w for _ in range(200)]
    assert np.abs(np.diff(gross)).max() <= 1_100.0 + 1e-6
    assert gross[-1] - gross[0] > 90e3
    assert plant.step(1.0, MINERS).despatch_w == pytest.approx(DEMO_PLANT.despatch_base_w, abs=1_000.0)


def test_a_load_above_the_surplus_pulls_the_export_below_despatch() -> None:
    truth = Plant(DEMO_PLANT, STEADY, seed=1).step(1.0, (150e3, 150e3))
    over_w = truth.site_load_w - truth.surplus_w
    assert over_w > 0
    assert truth.despatch_w - truth.poi_export_w == pytest.approx(over_w)


def test_worked_example_of_the_surplus_rule() -> None:
    """Megawatts: gross 300, aux 25, mine 40, despatch 230 -> cap 45; 15 lost -> 30; derated to 320 -> short of 10."""
    plant = Plant(big_plant(), Steps(45e6, 45e6, 0.0), seed=1)
    truth = plant.step(0.0, (40e6,))
    assert (truth.gross_w, truth.poi_export_w, truth.despatch_w, truth.cap_follow_w) == (300e6, 235e6, 230e6, 45e6)
    plant.lose_generation(0, 15e6, held_s=10.0)
    truth = plant.step(1.0, (40e6,))
    assert (truth.gross_w, truth.poi_export_w, truth.cap_follow_w) == (285e6, 220e6, 30e6)

    plant = Plant(big_plant(), Steps(45e6, 45e6, 0.0), seed=1)
    plant.derate(0, 320e6)
    truth = plant.step(0.0, (40e6,))
    assert (truth.surplus_w, truth.cap_follow_w) == (45e6, 35e6)


def test_a_tripped_unit_leaves_no_surplus_until_despatch_is_lowered() -> None:
    plant = Plant(DEMO_PLANT, STEADY, seed=1)
    before = plant.step(1.0, MINERS)
    plant.trip_unit(0)
    tripped = plant.step(1.0, MINERS)
    assert (tripped.gross_w, tripped.cap_follow_w, tripped.units[0].synchronised) == (0.0, 0.0, False)
    assert tripped.despatch_w == before.despatch_w
    assert tripped.poi_export_w < 0.0, "the site and the auxiliaries are fed from the grid"
    later = plant.step(DEMO_PLANT.despatch_held_after_trip_s, MINERS)
    assert later.despatch_w == 0.0


def test_an_orderly_disconnection_lowers_despatch_at_once() -> None:
    plant = Plant(DEMO_PLANT, STEADY, seed=1)
    plant.desynchronise(0)
    truth = plant.step(1.0, MINERS)
    assert (truth.despatch_w, truth.surplus_w) == (0.0, 0.0)


def test_a_second_unit_shares_the_load_once_synchronised() -> None:
    plant = Plant(DEMO_PLANT, STEADY, seed=1)
    plant.synchronise(1)
    truth = plant.step(1.0, MINERS)
    assert truth.units[1].synchronised
    assert truth.units[1].gross_w >= DEMO_PLANT.units[1].min_stable_w - 1e-6
    assert truth.surplus_w == pytest.approx(250e3, abs=500.0)
    assert balance_w(truth) == pytest.approx(0.0, abs=1e-6)


def test_derating_below_the_stable_minimum_is_refused() -> None:
    with pytest.raises(ValueError, match="below the stable minimum"):
        Plant(DEMO_PLANT, STEADY, seed=1).derate(0, 1.0)


def test_flags_and_frequency_are_what_the_levers_say() -> None:
    plant = Plant(DEMO_PLANT, STEADY, seed=1)
    assert plant.step(1.0, MINERS).flags.permit
    plant.set_flags(replace(plant.flags, grid_emergency=True))
    plant.set_frequency_offset(-0.5)
    truth = plant.step(1.0, MINERS)
    assert truth.flags == PlantFlags(True, False, False, True)
    assert truth.frequency_hz == pytest.approx(49.5, abs=0.1)


def test_frequency_and_voltage_wander_by_what_was_asked() -> None:
    plant = Plant(DEMO_PLANT, STEADY, seed=3)
    rows = [plant.step(60.0, MINERS) for _ in range(2000)]
    assert np.std([row.frequency_hz for row in rows]) == pytest.approx(0.01, rel=0.15)
    assert np.std([row.poi_line_v for row in rows]) == pytest.approx(22.0, rel=0.15)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    def run(seed: int) -> list[PlantTruth]:
        plant = Plant(DEMO_PLANT, DEMO.surplus_trace(), seed)
        return [plant.step(0.7, MINERS) for _ in range(50)]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_the_fleet_is_a_fifth_to_a_third_of_what_the_poi_meter_sees() -> None:
    plant = Plant(DEMO_PLANT, DEMO.surplus_trace(), seed=1)
    largest = max(plant.step(1.0, (0.0, 0.0)).poi_export_w for _ in range(180))
    assert 0.2 <= DEMO.fleet.rated_w() / largest <= 0.3


def test_the_demo_starts_close_to_its_surplus_and_below_it() -> None:
    powers = [
        model.sleep_power_w if asleep else model.nameplate.power_w
        for model, asleep in zip(DEMO.fleet.miners(), DEMO.fleet.asleep(), strict=True)
    ]
    truth = Plant(DEMO_PLANT, DEMO.surplus_trace(), seed=1).step(0.0, (sum(powers) / 2, sum(powers) / 2))
    assert 0.0 < truth.cap_follow_w - truth.site_load_w < 0.1 * DEMO.fleet.rated_w()


def test_losses_and_auxiliaries_add_to_the_miners() -> None:
    load = site_load(SiteSpec((FeederSpec("a", 0.01), FeederSpec("b", 0.02)), 500.0), (1000.0, 2000.0))
    assert (load.miners_w, load.losses_w, load.auxiliary_w, load.total_w) == (3000.0, 50.0, 500.0, 3550.0)


def test_miners_are_summed_on_their_own_feeder() -> None:
    miners = np.array([10.0, 20.0, 30.0])
    assert feeder_sums_w(miners, np.array([2, 0, 2]), 3) == (20.0, 0.0, 40.0)
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        feeder_sums_w(miners, np.array([2, 0, 2]), 2)


@pytest.mark.parametrize("powers", [(1.0,), (1.0, -1.0)])
def test_a_site_refuses_powers_that_cannot_be(powers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="feeder"):
        site_load(SiteSpec((FeederSpec("a", 0.0), FeederSpec("b", 0.0)), 0.0), powers)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        Plant(DEMO_PLANT, STEADY, seed=1).step(-1.0, MINERS)


def test_impossible_plants_are_refused() -> None:
    with pytest.raises(ValueError, match="min_stable_w <= available_w"):
        replace(DEMO_PLANT, units=(UnitSpec("u", 1.0, 2.0, 1.0, True),))
    with pytest.raises(ValueError, match="at least one unit"):
        replace(DEMO_PLANT, units=())


def test_the_scenario_puts_the_misbehaving_where_the_run_reaches_them_first() -> None:
    fleet = DEMO.fleet
    efficiencies = [model.efficiency_j_per_th for model in fleet.miners()]
    assert efficiencies == sorted(efficiencies)
    assert fleet.asleep() == (False,) * 60 + (True,) * 60
    families = [model.family for model in fleet.miners()]
    last_awake = {family: max(i for i in range(60) if families[i] is family) for family in Family}
    asleep_in_turn = {family: [i for i in range(60, 120) if families[i] is family] for family in Family}
    odd = {index: behaviour.name for index, behaviour in enumerate(fleet.behaviours()) if behaviour}
    assert odd == {
        last_awake[Family.ANTMINER]: "REFUSES",
        last_awake[Family.WHATSMINER]: "LIAR_SLEEP",
        asleep_in_turn[Family.WHATSMINER][0]: "NEVER_WAKES",
        asleep_in_turn[Family.WHATSMINER][2]: "NEVER_WAKES",
        asleep_in_turn[Family.LUXOS][0]: "NEVER_WAKES",
    }


def test_the_plant_command_prints_where_it_listens_and_stops_by_itself() -> None:
    result = CliRunner().invoke(plant_command, ["--port-base", "0", "--seconds", "0.1"])
    assert result.exit_code == 0, result.output
    assert result.output.count("127.0.0.1:") == 3
    assert "stopped after" in result.output


def test_the_plant_command_explains_a_bad_day() -> None:
    result = CliRunner().invoke(plant_command, ["--port-base", "0", "--day", "1999-01-01", "--seconds", "0.1"])
    assert result.exit_code == 1
    assert "no column '1999-01-01'; choose one of" in result.output


def test_vendor_ports_are_three_loopback_addresses_in_a_row() -> None:
    found = vendor_endpoints("127.0.9.1:502")
    assert (found.poi, found.site, found.dcs) == (("127.0.9.1", 502), ("127.0.9.2", 502), ("127.0.9.3", 502))


@pytest.mark.parametrize("text", ["10.0.0.1:502", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:0", "127.255.255.254:502"])
def test_vendor_ports_elsewhere_are_refused(text: str) -> None:
    result = CliRunner().invoke(plant_command, ["--vendor-ports", text, "--seconds", "0.1"])
    assert result.exit_code == 2
