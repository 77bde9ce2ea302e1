"""When a frequency below its guard counts: two readings in a row say so, one never."""

from __future__ import annotations

import pytest

from controller.core import frequency, urgency
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import InputState
from controller.domain.reasons import Bound
from tests.core.site import Site

LOW, FINE = 49.1, 50.0


def sample(hertz, at, quality=Quality.GOOD):
    return Sample(hertz, at, quality, "poi")


def counts(policy, *readings):
    """After each reading (Hz, taken at), whether the frequency counts as low."""
    low, found = None, []
    for hertz, at in readings:
        low = frequency.follow(low, sample(hertz, at), policy)
        found.append(low is not None and low.counts)
    return found


@pytest.mark.parametrize(
    ("apart_s", "low"),
    [
        pytest.param(0.0, False, id="the same reading again"),
        pytest.param(0.1, False, id="both within one fault"),
        pytest.param(0.2, True, id="a quick meter's next"),
        pytest.param(1.0, True, id="a usual meter's next"),
        pytest.param(3.0, True, id="a slow meter's next"),
        pytest.param(3.1, False, id="two that have nothing to do with each other"),
    ],
)
def test_two_low_readings_count_when_they_are_far_enough_apart_and_no_further(kit, apart_s, low):
    assert counts(kit.policy(), (LOW, 90.0), (LOW, 90.0 + apart_s)) == [False, low]


def test_readings_of_a_very_quick_meter_count_once_they_span_a_fifth_of_a_second(kit):
    assert counts(kit.policy(), *((LOW, 90.0 + 0.05 * step) for step in range(6))) == [False] * 4 + [True] * 2


def test_two_phase_jumps_with_a_good_reading_between_them_are_no_low_frequency(kit):
    assert counts(kit.policy(), (LOW, 90.0), (FINE, 90.2), (LOW, 90.4), (FINE, 90.6)) == [False] * 4


def test_a_reading_that_is_none_neither_confirms_nor_acquits(kit):
    policy = kit.policy()
    first = frequency.follow(None, sample(LOW, 90.0), policy)
    for nothing in (sample(None, 90.2, Quality.BAD), sample(LOW, 90.2, Quality.UNCERTAIN), sample(0.0, 90.2), None):
        assert frequency.follow(first, nothing, policy) == first
    assert frequency.follow(first, sample(LOW, 90.4), policy).counts


def test_who_holds_readings_for_longer_polls_slowly_and_is_guarded_all_the_same(kit):
    policy = kit.policy(inputs={"hold_after_s": 8.0})
    assert counts(policy, (LOW, 90.0), (LOW, 97.0)) == [False, True]


def watched(kit, *hertz, every_s=0.2):
    watch, policy = urgency.Watch(), kit.policy()
    readings = ({Point.FREQUENCY_HZ: sample(hz, 90.0 + every_s * step)} for step, hz in enumerate(hertz))
    return [watch.notices(policy, reading) for reading in readings]


def test_the_second_low_reading_in_a_row_starts_a_cycle_and_so_does_the_next_and_a_lasting_one_no_more(kit):
    assert watched(kit, FINE, LOW, LOW, LOW, LOW, FINE, FINE) == [False, False, True, True, False, False, False]


def test_the_readings_of_a_very_quick_meter_start_cycles_until_these_span_a_fifth_of_a_second(kit):
    assert watched(kit, *[LOW] * 8, every_s=0.05) == [False] + [True] * 5 + [False] * 2


def test_phase_jumps_start_nothing_however_many(kit):
    assert not any(watched(kit, FINE, LOW, FINE, LOW, FINE, FINE, LOW, FINE))


def test_a_low_frequency_that_comes_again_starts_cycles_again(kit):
    assert watched(kit, LOW, LOW, LOW, FINE, LOW, LOW, LOW) == [False, True, True, False, False, True, True]


def test_another_meters_news_beside_one_low_reading_start_nothing(kit):
    watch, policy = urgency.Watch(), kit.policy()
    low = {Point.FREQUENCY_HZ: sample(LOW, 90.0)}
    said = [watch.notices(policy, {**low, Point.SITE_LOAD_W: sample(1e4, 90.0 + at)}) for at in (0, 0.1, 0.3)]
    assert not any(said)


class Told(Site):
    """The hand-cranked site whose POI meter tells what it takes for the frequency; None: it says nothing new."""

    hertz: float | None = FINE
    newest = sample(FINE, 0.0)

    def readings(self):
        if self.hertz is not None:
            self.newest = sample(self.hertz, self.now)
        return {**super().readings(), Point.FREQUENCY_HZ: self.newest}


@pytest.fixture
def site(kit):
    site = Told(kit.policy(), kit.fleet(), [True] * 4, 12_000.0)
    for _ in range(30):
        site.cycle()
    return site


def step(site, hertz):
    site.hertz = hertz
    site.cycle()
    return site.decisions[-1]


def test_one_low_reading_sheds_nothing_and_holds_nothing(site):
    before_w = site.load_w()
    for hertz in (LOW, FINE, FINE):
        decision = step(site, hertz)
        assert (decision.setpoint.shed, decision.fail_safe, decision.events) == (False, InputState.GOOD, ())
    assert site.load_w() == pytest.approx(before_w, rel=0.01)


def test_the_second_sheds_to_auxiliaries_and_says_the_frequency(site):
    assert not step(site, LOW).setpoint.shed
    shed = step(site, 49.2).setpoint
    assert (shed.shed, shed.bound, shed.source) == (True, Bound.GRID_EMERGENCY, "frequency 49.20 Hz")


def test_one_low_reading_and_then_silence_raises_nothing_and_says_why(site):
    step(site, LOW)
    states = [next(entry for entry in step(site, None).inputs if entry.name == "frequency") for _ in range(8)]
    assert [entry.state for entry in states] == [InputState.GOOD] * 3 + [InputState.HOLD] * 5
    assert states[-1].condition == "low once, and not read since"
    assert not any(command.raises for decision in site.decisions[-5:] for command in decision.commands)
    assert not site.decisions[-1].setpoint.shed
    assert step(site, FINE).fail_safe is InputState.GOOD


def test_a_low_frequency_that_counts_stands_when_the_meter_falls_silent(site):
    step(site, LOW)
    step(site, LOW)
    assert all(step(site, None).setpoint.shed for _ in range(20))
