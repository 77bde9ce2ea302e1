"""The recorded signal and the surplus made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulators.accounting import count_moves
from simulators.scenario import DEMO
from simulators.trace import DEMO_DAY, SurplusTrace, Trace, TraceError, bundled_trace_path, days_of, load_trace

RAMP = Trace("d", np.array([100.0, 104.0, 108.0]), np.array([0.0, 50.0, -50.0]))


def test_a_sample_holds_until_the_next_one() -> None:
    assert [RAMP.signal_at(t, "hold") for t in (100.0, 103.999, 104.0, 107.9, 108.0)] == [0.0, 0.0, 50.0, 50.0, -50.0]


def test_linear_interpolation_joins_the_samples() -> None:
    assert RAMP.signal_at(102.0, "linear") == pytest.approx(25.0)
    assert RAMP.signal_at(106.0, "linear") == pytest.approx(0.0)


def test_the_nearest_sample_holds_outside_the_recording() -> None:
    assert RAMP.signal_at(0.0, "hold") == 0.0
    assert RAMP.signal_at(1e6, "hold") == -50.0


def test_regulation_up_lowers_the_surplus() -> None:
    surplus = SurplusTrace(RAMP, 100.0, base_w=300e3, capacity_w=200e3, interpolation="hold")
    assert [surplus.surplus_w(t) for t in (0.0, 4.0, 8.0)] == [300e3, 200e3, 400e3]


def test_the_surplus_never_becomes_negative() -> None:
    surplus = SurplusTrace(RAMP, 100.0, base_w=10e3, capacity_w=200e3, interpolation="hold")
    assert surplus.surplus_w(4.0) == 0.0


def test_sampling_covers_the_run_once() -> None:
    surplus = SurplusTrace(RAMP, 100.0, base_w=300e3, capacity_w=200e3, interpolation="hold")
    np.testing.assert_array_equal(surplus.sample(12.0, 4.0), [300e3, 200e3, 400e3])


def test_a_start_outside_the_day_is_refused_with_the_range() -> None:
    with pytest.raises(TraceError, match="start second 5 is outside the recording; choose one from 100 to 108"):
        SurplusTrace(RAMP, 5.0, 1.0, 1.0, "hold")


def test_negative_capacity_is_refused() -> None:
    with pytest.raises(TraceError, match="must not be negative"):
        SurplusTrace(RAMP, 100.0, 1.0, -1.0, "hold")


def test_all_bundled_days_are_whole_and_within_bounds() -> None:
    days = days_of(bundled_trace_path())
    assert len(days) == 24 and {DEMO_DAY, "2016-12-21"} <= set(days)
    for day in days:
        trace = load_trace(bundled_trace_path(), day)
        assert trace.second_of_day.size == 3600
        assert np.all(np.diff(trace.second_of_day) == 4.0)
        assert np.abs(trace.signal_mw).max() <= 100.0


def test_licence_and_citation_lie_beside_the_bundled_days() -> None:
    folder = bundled_trace_path().parent
    assert "Lawrence" in (folder / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Gehbauer" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("duration_s", "at_least"), [(120.0, 4), (180.0, 5), (300.0, 8)])
def test_the_demo_moves_clearly_up_and_down_however_short_it_is(duration_s: float, at_least: int) -> None:
    surplus_w = DEMO.surplus_trace().sample(duration_s, 1.0)
    moves = count_moves(surplus_w, 0.03 * DEMO.fleet.rated_w())
    assert min(moves.up, moves.down) >= at_least
    assert surplus_w.min() > 0.4 * DEMO.fleet.rated_w()
    assert surplus_w.max() < 0.8 * DEMO.fleet.rated_w()


def test_without_a_day_the_first_column_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("seconds_of_day,a,b\n0,1,2\n4,3,4\n\n", encoding="utf-8")
    assert load_trace(path, None).day == "a"
    np.testing.assert_array_equal(load_trace(path, "b").signal_mw, [2.0, 4.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'seconds_of_day'"),
        ("time,a\n0,1\n", "line 1: no column 'seconds_of_day'"),
        ("seconds_of_day\n0\n", "no day column"),
        ("seconds_of_day,b\n0,1\n4,1\n", "no column 'a'; choose one of b"),
        ("seconds_of_day,a\n0,1\n4,x\n", "line 3, column 'a': 'x' is not a number"),
        ("seconds_of_day,a\n0,1\n4\n", "line 3, column 'a': '' is not a number"),
        ("seconds_of_day,a\n0,nan\n4,1\n", "line 2, column 'a': 'nan' is not finite"),
        ("seconds_of_day,a\n0,1\n4,101\n", "line 3, column 'a': 101 MW is outside"),
        ("seconds_of_day,a\n4,1\n4,1\n", "line 3, column 'seconds_of_day': 4 does not come after 4"),
        ("seconds_of_day,a\n0,1\n", "1 samples; a trace needs at least two"),
    ],
)
def test_a_bad_file_is_refused_with_file_place_and_advice(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TraceError) as caught:
        load_trace(path, "a")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nowhere\.csv: cannot be read"):
        load_trace(tmp_path / "nowhere.csv", None)
