"""The score itself: against the figures it was calibrated by, and against answers whose worth is known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulators.asic.bank import MinerBank
from tests.rig.score import foresight, judge, managers, pjm, report
from tests.rig.score.__main__ import main
from tests.rig.score.orders import LARGE, Orders, five_minute, limited
from tests.rig.score.plant_site import build_site

SMALL_W = 200_000


def late_and_noisy(signal, delay_s, noise, ramp_per_min=None):
    """An answer to 2 s samples of a signal of 1 at most."""
    late = round(delay_s / 2.0)
    answer = np.concatenate((np.full(late, signal[0]), signal[: len(signal) - late]))
    if ramp_per_min is not None:
        answer = limited(answer, ramp_per_min / 30.0, answer[0])
    return answer + noise * np.random.default_rng(7).standard_normal(len(answer))


@pytest.mark.parametrize(
    ("delay_s", "noise", "ramp_per_min", "known"),
    [
        (5.0, 0.01, None, 0.992),
        (20.0, 0.02, None, 0.967),
        (30.0, 0.03, None, 0.935),
        (60.0, 0.05, None, 0.866),
        (10.0, 0.0, 0.2, 0.901),
    ],
)
def test_a_five_minute_profile_scores_as_known(delay_s, noise, ramp_per_min, known):
    """The manual's formula, precision always at shift 1. How large the steps of the known profile were is not known: up
    to the whole range for the delays, and for the ramp, which large steps punish, as far as ours go."""
    lowest = 0.35 if ramp_per_min else 0.0
    found = []
    for seed in range(16):
        signal = np.repeat(np.random.default_rng(seed).uniform(lowest, 1.0, 13), 150)[: 12 * 150 + 10]
        answer = late_and_noisy(signal, delay_s, noise, ramp_per_min)
        s, r = (pjm.ten_second_means(one - signal.mean(), 2.0) for one in (signal, answer))
        found.append(pjm.score(s, r, 0.5, shifts=(1,)).whole.composite)
    assert np.mean(found) == pytest.approx(known, abs=0.02)


def hour_of(power):
    return pjm.ten_second_means(np.asarray(power, dtype=np.float64), 2.0)


WAVE = 1000.0 * np.sin(np.arange(0.0, 3600.0, 2.0) / 60.0)


def test_a_perfect_answer_scores_one_and_one_ten_seconds_late_nearly():
    perfect = pjm.score(hour_of(WAVE), hour_of(WAVE), 1000.0).whole
    assert (perfect.accuracy, perfect.delay, perfect.precision) == pytest.approx((1.0, 1.0, 1.0))
    late = pjm.score(hour_of(WAVE), hour_of(np.roll(WAVE, 5)), 1000.0).whole
    assert late.composite == pytest.approx(1.0, abs=0.01)


def test_every_ten_seconds_beyond_the_first_cost_a_thirtieth_of_the_delay():
    jumps = np.repeat(np.random.default_rng(2).uniform(-1000.0, 1000.0, 360), 5)  # like nothing but itself
    late = pjm.score(hour_of(jumps), hour_of(np.roll(jumps, 5 * 4)), 1000.0).whole
    assert (late.accuracy, late.delay) == (pytest.approx(1.0), pytest.approx(1.0 - 3.0 / 30.0))


def test_an_answer_that_has_nothing_to_do_with_the_signal_scores_little():
    noise = 1000.0 * np.random.default_rng(3).standard_normal(len(WAVE))
    assert pjm.score(hour_of(WAVE), hour_of(noise), 1000.0).whole.composite < 0.6
    upside_down = pjm.score(hour_of(WAVE), hour_of(-WAVE), 1000.0).whole
    assert upside_down.precision < 0.2


def test_where_the_signal_stands_still_the_slope_counts():
    flat = np.full(1800, 800.0)
    still = pjm.score(hour_of(flat), hour_of(flat + 50.0), 1000.0).whole
    assert still.accuracy == pytest.approx(1.0)
    assert still.precision == pytest.approx(1.0 - 50.0 / 800.0)
    drifting = flat + np.linspace(0.0, 6000.0, 1800)  # half a capacity in five minutes
    assert pjm.score(hour_of(flat), hour_of(drifting), 1000.0).whole.accuracy == pytest.approx(0.5, abs=0.01)


def test_hours_count_alike_and_an_answer_too_short_is_refused():
    bad = WAVE.copy()
    bad[:] = 0.0
    signal, answer = np.concatenate((WAVE, WAVE)), np.concatenate((WAVE, bad))
    found = pjm.score(hour_of(signal), hour_of(answer), 1000.0)
    assert [len(found.hours), found.hours[0].precision] == [2, pytest.approx(1.0)]
    assert found.whole.precision == pytest.approx((1.0 + found.hours[1].precision) / 2.0)
    with pytest.raises(ValueError, match="two of 62 or more are needed"):
        pjm.score(hour_of(WAVE)[:40], hour_of(WAVE)[:40], 1000.0)


def test_the_reference_obeys_the_ramps_it_is_there_for():
    orders = five_minute(1, 10e6, 0.0, 4.0)
    moves = judge.ramps(orders.limited(10e6, float(orders.power_w[0])), 10e6)
    assert max(moves["up_60s"], moves["down_60s"]) == pytest.approx(0.20)
    assert moves["range_15s"] == pytest.approx(0.05)
    assert moves["range_5s"] < 0.10


def test_a_five_minute_day_is_within_bounds_has_large_moves_and_is_the_same_again():
    orders = five_minute(1, 10e6, 900.0, 4.0)
    assert orders.power_w.min() >= 3.5e6 and orders.power_w.max() <= 10e6
    moves = np.abs(np.diff(orders.power_w[1:])) / 10e6
    assert len(moves) == 47 and moves.max() > 0.3 and moves.max() <= LARGE
    assert np.array_equal(orders.power_w, five_minute(1, 10e6, 900.0, 4.0).power_w)
    assert not np.array_equal(orders.power_w, five_minute(2, 10e6, 900.0, 4.0).power_w)


def test_a_range_within_seconds_is_seen():
    load = np.full(600, 5e6)
    load[300:303] += 0.7e6
    moves = judge.ramps(load, 10e6)
    assert (moves["range_5s"], moves["range_15s"]) == (pytest.approx(0.07), pytest.approx(0.07))
    assert judge.ramps(np.linspace(0.0, 2e6, 121), 10e6)["up_60s"] == pytest.approx(0.10)


def test_what_the_site_sells_its_trimmers_can_move_within_ten_seconds():
    """By the physics of the fleet, not by the figures the offer was made of."""
    site = build_site()
    bank = MinerBank(site.fleet)
    before_w = bank.true_power_w.sum()
    out = set(site.unreachable)
    trimmers = np.array([index for index, model in enumerate(bank.models) if model.trims and index not in out])
    bank.command_profile_many(trimmers, np.zeros(len(trimmers), dtype=np.int64))
    for _ in range(40):
        bank.step(0.25)
    moved_w = before_w - bank.true_power_w.sum()
    assert moved_w * 1.01 == pytest.approx(2.0 * site.offer.regulation_w, rel=0.05)
    assert 0.4 < site.offer.base_w / site.rated_w < 0.8


def test_the_fleet_is_mixed_by_power():
    site = build_site()
    power_w = {}
    for model in site.fleet.models:
        power_w[model.family.name] = power_w.get(model.family.name, 0.0) + model.nameplate.power_w
    shares = {family: round(watts / site.rated_w, 2) for family, watts in power_w.items()}
    assert shares == {"WHATSMINER": 0.40, "LUXOS": 0.25, "ANTMINER": 0.35}


def test_no_use_of_the_same_watts_hashes_more_than_the_hull():
    models = build_site(rated_w=SMALL_W).fleet.models
    watts, rates = judge.hull(models)
    assert watts[-1] == pytest.approx(sum(model.nameplate.power_w for model in models))
    assert rates[-1] == pytest.approx(sum(model.nameplate.hashrate_th for model in models))
    assert np.all(np.diff(np.diff(rates) / np.diff(watts)) <= 1e-9)
    rng = np.random.default_rng(5)
    for _ in range(50):
        rungs = [int(rng.integers(-1, model.default_profile + 1)) for model in models]
        drawn_w = sum(m.sleep_power_w if r < 0 else m.profiles[r].power_w for m, r in zip(models, rungs, strict=True))
        hashed = sum(0.0 if r < 0 else m.profiles[r].hashrate_th for m, r in zip(models, rungs, strict=True))
        assert hashed <= np.interp(drawn_w, watts, rates) + 1e-6


def one_step(site, share):
    """Five minutes at what the site draws at the start, then another power."""
    at_s, power_w = np.array([0.0, 300.0]), np.array([site.offer.base_w, share * site.rated_w])
    return Orders("step", at_s, power_w, 1200.0, 300.0, site.offer.base_w, site.offer.regulation_w)


@pytest.mark.parametrize("share", [0.4, 0.75])
@pytest.mark.parametrize("baseline", [managers.hysteresis, managers.reconciler_30s])
def test_a_baseline_arrives_where_it_was_sent(baseline, share):
    """They are there to be beaten, so they must work: within two miners and a hundredth of the order, in the end."""
    site = build_site(rated_w=SMALL_W)
    orders = one_step(site, share)
    run = baseline(site, orders, orders.limited(float(site.rated_w), float(orders.power_w[0])))
    assert run.load_w[-120:].mean() == pytest.approx(share * site.rated_w, abs=0.01 * site.rated_w + 2 * 3500.0)
    assert run.commands > 0


def test_the_ideal_site_is_late_and_the_oracle_is_not():
    site = build_site(rated_w=SMALL_W)
    at_s = np.arange(0.0, 1800.0, 45.0)
    power_w = site.offer.base_w + site.offer.regulation_w * np.sin(at_s / 120.0)
    orders = Orders("wave", at_s, power_w, 1800.0, 300.0, site.offer.base_w, site.offer.regulation_w)
    day = judge.Day.of(site, orders)
    late, best = foresight.lagged(day), foresight.oracle(day)
    assert judge.figures(day, late)["delay"] < judge.figures(day, best.load_w)["delay"]
    assert judge.figures(day, best.load_w)["composite"] > 0.98
    assert judge.figures(day, late)["absorbed_kwh"] <= best.absorbed_kwh * 1.001


def test_the_program_scores_a_quarter_of_an_hour_of_a_small_site(tmp_path, capsys):
    arguments = ["--hours", "0.25", "--days", "2016-12-21", "--rated-mw", "0.2", "--no-wear", "--processes", "1"]
    code = main([*arguments, "--only", "ours,lagged,oracle", "--out", str(tmp_path)])
    said = json.loads((tmp_path / "score.json").read_text())
    assert set(said) >= {"days", "five_minute", "median", "worst"}
    assert set(said["days"]["2016-12-21"]) == {"ours", "lagged", "oracle"}
    for day in (said["five_minute"], *said["days"].values()):
        for figures in day.values():
            assert all(0.0 <= figures[measure] <= 1.0 for measure in ("accuracy", "delay", "precision", "composite"))
    rows = [json.loads(row) for row in (tmp_path / "score-runs.jsonl").read_text().splitlines()]
    assert {(row["day"], row["contestant"]) for row in rows} >= {("2016-12-21", "ours"), ("five_minute", "oracle")}
    assert 0.9 < said["five_minute"]["ours"]["share_of_oracle"] < 1.01
    shown = capsys.readouterr().out
    assert ("FAILS" in shown) == (code == 1) and "regulation days, worst" in shown
    assert {path.name for path in (tmp_path / "score").iterdir()} == {"2016-12-21.svg", "five_minute.svg"}


@pytest.mark.parametrize(
    ("only", "said"), [("ours,nobody", "no contestant nobody"), ("lagged", "ours is missing; name ours and any of")]
)
def test_a_run_without_ours_or_with_somebody_unknown_is_refused(only, said, tmp_path, capsys):
    assert main(["--only", only, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def lines_of(**changes):
    """The lines of a report in which everything holds, with some figures changed."""
    figures = {"composite": 0.96, "share_of_oracle": 0.98, "violation_net_s": 0.0}
    figures |= dict.fromkeys(("accuracy", "delay", "precision"), 0.96)
    figures["ramps"] = {"up_60s": 0.2, "down_60s": 0.2, "range_15s": 0.05, "range_5s": 0.05}
    ours = figures | changes
    lagged = figures | {"composite": 0.9}
    worn = {"p99": 6.0, "max": 6.0, "median": 3.0, "hours": 24.0, "shortest_on_s": None, "shortest_off_s": 600.0}
    five = {"ours": ours, "lagged": lagged}
    return report.lines(report.summary({"a": five, "b": five}, five, worn | {"holds": True}))


def test_all_lines_hold_when_everything_does():
    assert len(lines_of()) == 8 and all(line.holds for line in lines_of())


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"composite": 0.94}, {"five-minute dispatch"}),
        (
            {"composite": 0.92},
            {"five-minute dispatch", "regulation days, median", "median above the best baseline's (lagged)"},
        ),
        ({"share_of_oracle": 0.96}, {"least share of the oracle's energy"}),
        ({"violation_net_s": 1.0}, {"net violation seconds, all runs"}),
        (
            {"ramps": {"up_60s": 0.1, "down_60s": 0.1, "range_15s": 0.06, "range_5s": 0.01}},
            {"largest moves of rated (T8, T9)"},
        ),
    ],
)
def test_a_line_that_is_not_reached_fails(changes, broken):
    assert {line.text for line in lines_of(**changes) if not line.holds} == broken


def test_an_unknown_day_is_named_with_those_there_are(tmp_path, capsys):
    assert main(["--days", "1999-01-01", "--out", str(tmp_path)]) == 2
    assert "no day 1999-01-01 in the trace; there are 2016-04-12" in capsys.readouterr().err
