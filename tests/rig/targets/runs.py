"""The runs behind the targets: one seed of one kind each, in virtual time. Powers as shares of rated, times in seconds.

*steps*: `target` orders of 10 to 85 % of rated, up and down, 22 minutes apart, and how the load follows them.
*surplus*: no orders, six hours of a recorded day as the surplus of a plant whose units move by what grids allow of a
load, 20 % of the site's rated power a minute. *loss*: generation is lost under a load at rest.
*blackout*: every feeder is dark for two minutes. *shed*: the plant's emergency flag, everybody hashing. *signals*: an
hour of five-minute dispatch and an hour of a recorded regulation day, scored by PJM's formulae.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from simulators.accounting import violation
from simulators.trace import SurplusTrace, bundled_trace_path, days_of, load_trace
from tests.rig.breaches import horizon_s
from tests.rig.score.judge import Day, figures, ramps
from tests.rig.score.orders import RAMP_PER_MIN, Orders, five_minute, limited, regulation
from tests.rig.score.plant_site import LOSS, Ample, Site10MW, score_setup
from tests.rig.score.runs import ours
from tests.rig.score.wear import EverySecond
from tests.rig.setup import FeederTrip, PlantEvent, Setup
from tests.rig.targets import measures
from tests.rig.targets.site import all_hashing, available_w, common_site, watch

Figures = dict[str, Any]
STEPS = 5
STEP_EVERY_S, SAID_AGAIN_S = 1_320, 300
LOWEST, HIGHEST, LEAST_STEP = 0.06, 0.91, 0.10
LEAD_IN_S = 900
STAYS_S = 300
REST_S = 256
"""Before the next step: what a line of fixed period is looked for in."""
TOLERANCE = 0.02
SURPLUS_HOURS = 6.0
MIDDLE, REACH = 0.60, 0.30  # of rated: the surplus a recorded signal makes
MARGIN = 0.01  # of rated: what the site leaves of a surplus, and what a household does not notice
BLACKOUT_S, DARK_S, BACK_S = 300, 120, 1_500
FLAG_S, FLAGGED_S = 120, 50
DEAF = 0.05
LOSSES = 3
LOSS_EVERY_S, LOST_S = 900, 150
NIGHT_S = 3_600.0  # into a recorded day


def steps(seed: int, miners: int) -> Figures:
    """T3, T4, T8, T9."""
    site = common_site(seed, miners)
    orders, shares = _step_orders(site, seed)
    seen = watch(score_setup(site, orders, orders.duration_s))[0]
    rated_w, found = float(site.rated_w), []
    rest = []
    for number, (before, share) in enumerate(itertools.pairwise(shares)):
        at_s = LEAD_IN_S + number * STEP_EVERY_S
        until = seen.load_w[: at_s + STEP_EVERY_S]
        tolerance_w = max(TOLERANCE * rated_w, 2.0 * max(model.nameplate.power_w for model in site.fleet.models))
        ramp_s = abs(share - before) / RAMP_PER_MIN * 60.0
        found.append(
            {
                "from": before,
                "to": share,
                "moved_s": measures.moved_after_s(until, at_s, share * rated_w),
                "settled_s": measures.settled_after_s(until, at_s, share * rated_w, tolerance_w, STAYS_S),
                "allowed_s": 60.0 if ramp_s <= 30.0 else ramp_s + 30.0,
            }
        )
        rest.append(measures.line(until[-REST_S:], rated_w))
    return {"steps": found, "ramps": ramps(seen.load_w[LEAD_IN_S:], rated_w), "line": max(rest)}


def _step_orders(site: Site10MW, seed: int) -> tuple[Orders, list[float]]:
    """The orders, each said again until the next, and their shares of rated; the first is before the steps."""
    rng = np.random.default_rng((seed, 3))
    shares = [float(rng.uniform(0.3, 0.7))]
    while len(shares) <= STEPS:
        share = float(rng.uniform(LOWEST, HIGHEST))
        if abs(share - shares[-1]) >= LEAST_STEP:
            shares.append(share)
    again = np.arange(0, STEP_EVERY_S, SAID_AGAIN_S)
    begins = [0.0, *(float(LEAD_IN_S + number * STEP_EVERY_S) for number in range(STEPS))]
    at_s = [
        begin + after
        for begin, long in zip(begins, (LEAD_IN_S, *[STEP_EVERY_S] * STEPS), strict=True)
        for after in again[again < long].tolist()
    ]
    power_w = [site.rated_w * shares[max(number for number, begin in enumerate(begins) if begin <= at)] for at in at_s]
    duration_s = float(LEAD_IN_S + STEPS * STEP_EVERY_S)
    return Orders("steps", np.array(at_s), np.array(power_w), duration_s, LEAD_IN_S, 0.0, 0.0), shares


def surplus(seed: int, miners: int, hours: float = SURPLUS_HOURS) -> Figures:
    """T6, T7: following a surplus that a recorded day makes."""
    site = common_site(seed, miners)
    rated_w, path = float(site.rated_w), bundled_trace_path()
    days = days_of(path)
    trace = load_trace(path, days[seed % len(days)])
    recorded = SurplusTrace(trace, float(trace.second_of_day[0]), MIDDLE * rated_w, REACH * rated_w, "linear")
    duration_s = LEAD_IN_S + hours * 3600.0
    pace_w = RAMP_PER_MIN / 60.0 * rated_w
    given_w = limited(recorded.sample(duration_s, 1.0), pace_w, MIDDLE * rated_w)
    setup = score_setup(site, None, duration_s, EverySecond(given_w))
    seen = watch(setup)[0]
    load_w, cap_w = seen.load_w[LEAD_IN_S:], seen.cap_w[LEAD_IN_S:]
    target_w = measures.rising_by(cap_w - MARGIN * rated_w, pace_w)
    load_5min_w, target_5min_w = measures.interval_means(load_w), measures.interval_means(target_w)
    off_w = np.abs(load_5min_w - target_5min_w)
    energy, longest_s = measures.over_cap(load_w, cap_w, MARGIN * rated_w)
    t_s = np.arange(len(load_w), dtype=np.float64)
    return {
        "day": trace.day,
        "off_of_rated": float(off_w.mean()) / rated_w,
        "off_of_target": float((off_w / target_5min_w).mean()),
        "worst_of_available": float(off_w.max()) / available_w(site),
        "excess_energy": energy,
        "longest_above_s": longest_s,
        "net_above_s": violation(t_s, load_w, cap_w, rated_w, horizon_s(setup)).total_s,
        "absorbed": float(np.minimum(load_w, cap_w).sum() / cap_w.sum()),
        "risen_60s": measures.risen_in_a_minute(load_w, rated_w),
    }


def loss(seed: int, miners: int) -> Figures:
    """T7: generation is lost, and the load has to leave the grid its despatch again."""
    site = common_site(seed, miners)
    rated_w = float(site.rated_w)
    rng = np.random.default_rng((seed, 4))
    at = [LEAD_IN_S + number * LOSS_EVERY_S for number in range(LOSSES)]
    lost = [float(rng.uniform(0.15, 0.6)) for _ in at]
    events = [PlantEvent(float(at_s), share * rated_w, LOST_S, False) for at_s, share in zip(at, lost, strict=True)]
    plain = score_setup(site, None, float(at[-1] + LOST_S + 60), Ample(0.7 * rated_w))
    seen = watch(replace(plain, plant_events=tuple(events)))[0]
    after = [measures.restored_after_s(seen.load_w, seen.cap_w, at_s, MARGIN * rated_w) for at_s in at]
    return {"lost": lost, "restored_s": after}


def blackout(seed: int, miners: int) -> Figures:
    """T8: every feeder dark for two minutes; then all start by themselves at once."""
    site = common_site(seed, miners)
    rated_w = float(site.rated_w)
    plain = score_setup(site, None, float(BLACKOUT_S + DARK_S + BACK_S), Ample(0.7 * rated_w))
    feeders = range(len(plain.plant.site.feeders))
    trips = tuple(FeederTrip(feeder, BLACKOUT_S, BLACKOUT_S + DARK_S) for feeder in feeders)
    seen = watch(replace(plain, trips=trips))[0]
    after = slice(BLACKOUT_S + 20, None)
    led_w = seen.load_w[after] - seen.self_started_w[after]
    return {
        "risen_60s": measures.risen_in_a_minute(seen.load_w[after], rated_w),
        "risen_60s_led": measures.risen_in_a_minute(led_w, rated_w),
        "back": float(seen.load_w[-60:].mean() / seen.cap_w[-60:].mean()),
    }


def shed(seed: int, miners: int) -> Figures:
    """T5: what is off 10 and 30 s after the emergency flag, where everybody listens and where one in twenty says no to
    the first order."""
    site = all_hashing(common_site(seed, miners))
    count = len(site.fleet.models)
    deaf = np.random.default_rng((seed, 5)).choice(count, size=round(DEAF * count), replace=False).tolist()
    plain = replace(
        score_setup(site, None, float(FLAG_S + FLAGGED_S)),
        plant_events=(PlantEvent(float(FLAG_S), 0.0, FLAGGED_S, True),),
    )
    return {
        "all_listen": _off(plain),
        "some_refuse": _off(replace(plain, refusals=tuple((miner, 1) for miner in deaf))),
    }


def _off(setup: Setup) -> list[float]:
    seen, site = watch(setup)
    least_w = setup.plant.site.auxiliary_w + (1.0 + LOSS) * float(site.bank.sleep_power_w.sum())
    before_w = float(seen.load_w[FLAG_S - 1])
    return [(before_w - float(seen.load_w[FLAG_S - 1 + after])) / (before_w - least_w) for after in (10, 30)]


def signals(seed: int, miners: int) -> Figures:
    """T13: the score of an hour of each."""
    site = common_site(seed, miners)
    path = bundled_trace_path()
    days = days_of(path)
    trace = load_trace(path, days[seed % len(days)])
    later = trace.second_of_day >= trace.second_of_day[0] + NIGHT_S
    hour = replace(trace, second_of_day=trace.second_of_day[later], signal_mw=trace.signal_mw[later])
    asked = {
        "five_minute": five_minute(seed, float(site.rated_w), LEAD_IN_S, 1.0),
        "regulation": regulation(hour, site.offer.base_w, site.offer.regulation_w, LEAD_IN_S, 1.0),
    }
    return {name: _scored(site, orders) for name, orders in asked.items()} | {"day": trace.day}


def _scored(site: Site10MW, orders: Orders) -> dict[str, float]:
    run = ours(site, orders)
    found = figures(Day.of(site, orders), run.load_w, run)
    return {name: float(found[name]) for name in ("composite", "accuracy", "delay", "precision")}


KINDS: dict[str, Callable[[int, int], Figures]] = {
    "steps": steps,
    "surplus": surplus,
    "loss": loss,
    "blackout": blackout,
    "shed": shed,
    "signals": signals,
}
SURPLUS_SEEDS = 4
"""Six hours a seed: as many as the others would be as long as all the rest."""
