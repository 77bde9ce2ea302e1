"""SIGKILL in the middle of a curtailment and of a restore: the load stays where it is, and the daemon goes on with it.

Judged by true power and by what really reached the miners; the daemon's own word is asked for only to see that it is
in control again.
"""

from __future__ import annotations

import json
import signal
import time
from functools import partial

import pytest

from controller.domain.journalling import RowKind
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until

IN_CONTROL_WITHIN_S = 10.0
FLEET = {"s21": 4, "s19jpro": 12}
EFFECT_S = 4.0  # by then the last command has had its effect, boots included
OVERSHOOT_KW = 2.0  # a simulated boot is quicker than the class on file says; without a crash it is the same
SLOW = {"up": "160 %/min", "down": "160 %/min", "up_15s": "40 %", "down_15s": "40 %"}


@pytest.mark.parametrize("move", ["curtailment", "restore"])
def test_a_kill_in_the_middle_of_a_move_changes_nothing_and_the_move_goes_on(make_site: MakeSite, move: str) -> None:
    curtails = move == "curtailment"
    from_kw, to_kw = (45.0, 12.0) if curtails else (12.0, 45.0)
    site = make_site(move, surplus_kw=from_kw, models=FLEET, hashing=16)
    # Without trims a move has one direction: every step back would be the crash's.
    site.configure(control={"trim": False}, ramp=SLOW, fleet={"adopt_sleepers_at_start": False})
    site.daemon.start()
    sim = site.sim
    tolerated_kw = 0.01 * sim.rated_w / 1e3
    until(lambda: sim.load_kw < from_kw + 1 and at_rest(site), 40, "at rest before the move")
    moved_at, begin_kw = time.monotonic(), sim.load_kw
    if curtails:  # by a cap, which lowers by the ramps; a surplus that falls would not wait for them
        assert site.cli("cap", f"{to_kw:g}kW", "--for", "10m").code == 0
    else:
        sim.surplus.power_w = to_kw * 1e3
    until(lambda: abs(sim.load_kw - begin_kw) > 0.4 * abs(to_kw - begin_kw), 40, "well under way")
    site.daemon.end(signal.SIGKILL)
    until(lambda: at_rest(site), 10, "what was on its way has arrived")
    writes, before_kw, started_at = sim.writes(), sim.load_kw, time.monotonic()
    assert abs(before_kw - to_kw) > 5, "killed too late: the move was over"
    site.daemon.start()
    until(lambda: sim.writes() > writes, IN_CONTROL_WITHIN_S, "in control again")
    assert time.monotonic() - started_at < IN_CONTROL_WITHIN_S
    assert site.status()["miners"]["foreign_sleeper"] == 0
    until(lambda: abs(sim.load_kw - before_kw) > 3, 20, "the move goes on")
    site.daemon.end(signal.SIGKILL)  # and once more, with commands on their way
    site.daemon.start()
    until(lambda: sim.load_kw < to_kw + 1 and at_rest(site) and abs(sim.load_kw - to_kw) < 6, 60, "the end of the move")
    went_kw = [row.site_load_w / 1e3 for row in sim.truth(moved_at)]
    assert max(went_kw) < max(from_kw, to_kw) + tolerated_kw + OVERSHOOT_KW, "above what the site may draw"
    if curtails:  # upwards, in whole miners, the last one may change places with a better one
        assert backwards(went_kw) <= tolerated_kw, "the load rose on its way down"
    first = switched(site, started_at, started_at + EFFECT_S)
    assert first
    assert all(wakes is not curtails for _, wakes in first), "the move was turned round"
    assert site.daemon.end() == 0
    ids = [command[0] for row in site.rows(RowKind.COMMAND) for command in json.loads(row.body)["commands"]]
    assert ids == sorted(set(ids)), "a command number was used twice"


def at_rest(site: SmallSite) -> bool:
    return time.monotonic() - site.sim.last_write_at > EFFECT_S


def _told_since(site: SmallSite, at_s: float) -> bool:
    return site.sim.last_write_at > at_s


def profiles(site: SmallSite) -> list[str]:
    """What each miner really runs."""
    running = site.sim.farm.bank.profile_index
    return [model.profiles[int(index)].name for model, index in zip(site.sim.models, running, strict=True)]


def backwards(load_kw: list[float]) -> float:
    """The largest rise on a way down, kW."""
    lowest, worst = load_kw[0], 0.0
    for power in load_kw:
        lowest = min(lowest, power)
        worst = max(worst, power - lowest)
    return worst


def switched(site: SmallSite, since_s: float, until_s: float) -> list[tuple[str, bool]]:
    """Who was put to sleep (False) or woken (True) between two moments."""
    return [
        (name, record.raises is True)
        for name, miner in zip(site.sim.ids, site.sim.farm.miners, strict=True)
        for record in tuple(miner.log.writes)
        if since_s <= record.at_s < until_s and record.command == "curtail"
    ]


def test_after_many_kills_every_prior_mode_is_given_back_exactly(make_site: MakeSite) -> None:
    site = make_site("priors", surplus_kw=45, models=FLEET, hashing=16)
    site.configure(restart={"crash_limit": 50})
    sim = site.sim
    for miner, rung in ((0, 2), (3, 5), (7, 1), (11, 4), (14, 3)):
        sim.owner_sets(miner, rung)
    before = profiles(site)
    assert len(set(before)) > 4, "owners differ, or nothing is proved"
    for surplus_kw in (20, 10, 30, 14):
        sim.surplus.power_w = surplus_kw * 1e3
        site.daemon.start()
        told_at = sim.last_write_at
        until(partial(_told_since, site, told_at), 15, "a move begun")
        # So that the next start finds modes that are ours and not the owners'.
        until(lambda: profiles(site) != before, 15, "a trim that has had its effect")
        site.daemon.end(signal.SIGKILL)
    site.daemon.start()
    assert site.cli("cap", "0kW", "--for", "10m").code == 0
    until(lambda: len(sim.asleep()) == len(sim.ids), 60, "everybody asleep")
    until(lambda: site.cli("restore", "--all").code == 0, 100, "all given back")
    assert profiles(site) == before
    assert site.daemon.end() == 0
