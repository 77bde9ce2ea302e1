"""The targets: what is measured on loads whose answer is known, and that a small site is measured and judged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.rig.targets import measures, report
from tests.rig.targets.__main__ import main

RATED_W = 1_000.0


def ramp_of(from_w, to_w, begins_s, w_per_s, lasts_s=900):
    """A load that leaves `from_w` at a second and goes straight to `to_w`."""
    t_s = np.arange(lasts_s, dtype=np.float64)
    moved = np.clip((t_s - begins_s) * w_per_s, 0.0, abs(to_w - from_w))
    return from_w + np.sign(to_w - from_w) * moved


def test_the_first_movement_is_a_twentieth_of_the_step_in_its_direction():
    assert (
        measures.moved_after_s(ramp_of(800.0, 200.0, 104, 10.0), 100, 200.0) == 8.0
    )  # 30 W at 107, the end of the eighth second
    assert measures.moved_after_s(ramp_of(200.0, 800.0, 104, 10.0), 100, 800.0) == 8.0
    assert measures.moved_after_s(ramp_of(800.0, 900.0, 104, 10.0), 100, 200.0) == np.inf  # the wrong way


def test_a_load_has_settled_only_when_it_stays():
    load_w = ramp_of(800.0, 200.0, 100, 10.0)
    assert measures.settled_after_s(load_w, 100, 200.0, 20.0, 300) == 59.0
    load_w[300] = 240.0  # and once more outside
    assert measures.settled_after_s(load_w, 100, 200.0, 20.0, 300) == 202.0
    load_w[300::100] = 240.0
    assert measures.settled_after_s(load_w, 100, 200.0, 20.0, 300) == np.inf


def test_a_limit_is_followed_down_at_once_and_up_by_the_ramp():
    limit_w = np.array([500.0, 300.0, 900.0, 900.0, 310.0])
    assert measures.rising_by(limit_w, 100.0).tolist() == [500.0, 300.0, 400.0, 500.0, 310.0]


def test_energy_above_a_cap_and_its_longest_spell():
    load_w, cap_w = np.full(100, 500.0), np.full(100, 500.0)
    load_w[10:14], load_w[50:57], load_w[80:99] = 520.0, 511.0, 509.0  # the last within the tolerance
    share, longest_s = measures.over_cap(load_w, cap_w, 10.0)
    assert longest_s == 7.0
    assert share == pytest.approx((4 * 20.0 + 7 * 11.0 + 19 * 9.0) / 50_000.0)


def test_the_despatch_is_restored_when_the_load_is_under_what_is_left():
    assert measures.restored_after_s(ramp_of(700.0, 100.0, 103, 20.0), np.full(900, 300.0), 100, 10.0) == 24.0
    again_w = np.where(np.arange(900) == 150, 700.0, 100.0)
    assert measures.restored_after_s(again_w, np.full(900, 300.0), 100, 10.0) == 52.0


def test_a_swinging_load_has_a_line_and_a_drifting_one_has_none():
    t_s = np.arange(256.0)
    assert measures.line(500.0 + 5.0 * np.sin(2.0 * np.pi * t_s / 16.0), RATED_W) == pytest.approx(0.005, rel=0.02)
    assert measures.line(500.0 + 0.1 * t_s, RATED_W) < 1e-6


GOOD_STEP = {"from": 0.2, "to": 0.8, "moved_s": 5.0, "settled_s": 200.0, "allowed_s": 210.0}
GOOD_RAMPS = {"up_60s": 0.20, "down_60s": 0.20, "range_15s": 0.05, "range_5s": 0.03}
GOOD = {
    "steps": {"steps": [GOOD_STEP, {**GOOD_STEP, "to": 0.1}], "ramps": GOOD_RAMPS, "line": 0.002},
    "shed": {"all_listen": [0.97, 0.999], "some_refuse": [0.96, 0.995]},
    "surplus": {
        "off_of_rated": 0.01,
        "off_of_target": 0.02,
        "worst_of_available": 0.1,
        "excess_energy": 0.0005,
        "longest_above_s": 9.0,
        "net_above_s": 0.0,
        "risen_60s": 0.2,
    },
    "loss": {"restored_s": [10.0, 50.0]},
    "blackout": {"risen_60s": 0.2, "risen_60s_led": 0.1, "back": 0.97},
    "signals": {
        name: {"composite": 0.96, "accuracy": 0.95, "delay": 0.99, "precision": 0.94}
        for name in ("five_minute", "regulation")
    },
}


def test_what_keeps_every_target_holds():
    held = report.lines({kind: [one, one] for kind, one in GOOD.items()})
    assert {line.text.split()[0] for line in held} == {"T3", "T4", "T5", "T6", "T7", "T8", "T9", "T13"}
    assert [line.text for line in held if not line.holds] == []


@pytest.mark.parametrize(
    ("kind", "bad", "fails"),
    [
        ("steps", {"steps": [{**GOOD_STEP, "moved_s": 46.0}]}, {"T3"}),
        ("steps", {"steps": [{**GOOD_STEP, "settled_s": np.inf}]}, {"T4"}),
        ("steps", {"ramps": {**GOOD_RAMPS, "up_60s": 0.22}}, {"T8"}),
        ("steps", {"ramps": {**GOOD_RAMPS, "range_15s": 0.06}}, {"T9"}),
        ("steps", {"line": 0.003}, {"T9"}),
        ("shed", {"some_refuse": [0.94, 0.995]}, {"T5"}),
        ("shed", {"all_listen": [0.97, 0.98]}, {"T5"}),
        ("surplus", {"off_of_rated": 0.021}, {"T6"}),
        ("surplus", {"longest_above_s": 11.0}, {"T7"}),
        ("surplus", {"net_above_s": 1.0}, {"T7"}),
        ("surplus", {"excess_energy": 0.002}, {"T7"}),
        ("loss", {"restored_s": [61.0]}, {"T7"}),
        ("blackout", {"risen_60s": 0.3}, {"T8"}),
        ("blackout", {"back": 0.1}, {"T8"}),
        ("signals", {"regulation": {**GOOD["signals"]["regulation"], "delay": 0.79}}, {"T13"}),
    ],
)
def test_one_seed_that_misses_a_target_is_enough(kind, bad, fails):
    held = report.lines({kind: [GOOD[kind], GOOD[kind] | bad]})
    assert {line.text.split()[0] for line in held if not line.holds} == fails


def test_a_small_site_is_measured(tmp_path, capsys):
    code = main(["--only", "shed,loss", "--seeds", "1", "--miners", "60", "--processes", "1", "--out", str(tmp_path)])
    told = json.loads((tmp_path / "targets.json").read_text(encoding="utf-8"))
    assert {name.split()[0] for name in (line["target"] for line in told["lines"])} == {"T5", "T7"}
    assert code == (0 if all(line["holds"] for line in told["lines"]) else 1)
    (seed,) = told["runs"]["loss"]
    assert len(seed["restored_s"]) == 3
    assert capsys.readouterr().out.count("T5 off after") == 4


def test_what_cannot_be_run_is_refused(capsys):
    assert main(["--seeds", "0"]) == 2
    assert "one at least" in capsys.readouterr().err
    assert main(["--only", "sheds"]) == 2
    assert "no kind of run sheds; there are steps, surplus" in capsys.readouterr().err
