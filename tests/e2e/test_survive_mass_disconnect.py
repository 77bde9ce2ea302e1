"""Three in ten miners vanish at once: a switch that died, then a feeder that tripped and comes back by itself."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from dataclasses import replace

import numpy as np

from controller.domain.journalling import RowKind
from simulators.asic.response import Span, VerbResponse
from simulators.faults import Fault
from tests.e2e.conftest import MakeSite
from tests.e2e.simulated import RESPONSE
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

MODELS = {"s21": 8, "s19kpro": 8, "s19jpro": 8}
SWEEP_S, DEADLINE_S, CYCLE_S = 1.0, 0.9, 0.25
SEEN_WITHIN_S = SWEEP_S + DEADLINE_S + 4 * CYCLE_S
LOST = range(3, 10)  # 7 of 24, on both feeders, among the best: all of them hash
ON_B = range(1, 24, 2)
TRIED_EVERY_S = 15.0
SLOW_BOOTS = replace(
    RESPONSE, wake=VerbResponse(Span(0.5, 1.0), Span(7.0, 9.0)), reboot_off=Span(2.0, 4.0)
)  # as slow as quick ones in the field


def at_once(site: SmallSite) -> float:
    """What /metrics says of it."""
    port = site.daemon.events("metrics_listening")[0]["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("curtaild_miners_unreachable_at_once")).split()[-1])


def commands(site: SmallSite, miners: range) -> list[tuple[float, int, str]]:
    """(wall, miner, verb) of every command to these that the journal holds."""
    found = [(row.wall, command) for row in site.rows(RowKind.COMMAND) for command in json.loads(row.body)["commands"]]
    return [(wall, command[1], command[2]) for wall, command in found if command[1] in miners]


def test_a_switch_that_dies_moves_nothing_and_a_shed_goes_round_the_lost(make_site: MakeSite) -> None:
    site = make_site("deaf", surplus_kw=100, models=MODELS, hashing=24)  # nobody has a reason to move
    sim, daemon = site.sim, site.daemon
    site.configure()
    daemon.start()
    until(lambda: site.status()["miners"].get("hashing") == 24, 15, "all seen hashing")
    tolerance_kw = 0.01 * sim.rated_w / 1e3
    before_kw, begun, asked = sim.load_kw, time.monotonic(), len(commands(site, LOST))

    sim.fault(Fault.BLACK_HOLE, LOST, on=True)
    until(lambda: daemon.events("mass_disconnect"), SEEN_WITHIN_S, "said at once")
    assert "of 24 miners" in daemon.events("mass_disconnect")[0]["text"]
    until(lambda: at_once(site) == 7, SEEN_WITHIN_S, "all seven counted")
    time.sleep(2)
    sim.fault(Fault.BLACK_HOLE, LOST, on=False)
    until(lambda: daemon.events("mass_return"), 6, "the return")
    assert at_once(site) == 0
    powers_kw = [row.site_load_w / 1e3 for row in sim.truth(begun)]
    assert max(powers_kw) - before_kw < tolerance_kw
    assert before_kw - min(powers_kw) < tolerance_kw
    assert len(commands(site, LOST)) == asked, "nobody was commanded, neither away nor back"

    sim.fault(Fault.BLACK_HOLE, LOST, on=True)
    until(lambda: len(daemon.events("mass_disconnect")) == 2, SEEN_WITHIN_S, "said again")
    until(lambda: at_once(site) == 7, SEEN_WITHIN_S, "all seven counted again")  # who is not yet is asked as anybody is
    lost_kw = float(sim.farm.bank.true_power_w[list(LOST)].sum()) / 1e3
    shed_at = time.time()
    sim.emergency(on=True)
    until(lambda: sim.load_kw < lost_kw * 1.02 + 2.5, 6, "all that can be reached asleep")
    always(lambda: sim.load_kw > lost_kw, 3, "they draw on, and count so")
    tried = [(wall, miner) for wall, miner, _ in commands(site, LOST) if wall >= shed_at]
    assert {miner for _, miner in tried} == set(LOST), "each was tried"
    assert max(Counter(miner for _, miner in tried).values()) <= 1 + (time.time() - shed_at) // TRIED_EVERY_S
    assert site.status()["figures"]["floor_kw"] > lost_kw

    sim.fault(Fault.BLACK_HOLE, LOST, on=False)
    until(lambda: len(sim.asleep()) == 24, 8, "shed when they are heard again")
    assert not daemon.events("miner_quarantined")


def test_a_feeder_that_trips_is_dark_and_its_miners_are_let_in_by_the_ramps(make_site: MakeSite) -> None:
    site = make_site("dark", surplus_kw=62, models=MODELS, hashing=20, response=SLOW_BOOTS)
    sim, daemon = site.sim, site.daemon
    site.configure(ramp={"up": "200 %/min", "down": "1000 %/min", "up_15s": "40 %", "down_15s": "100 %"})
    daemon.start()
    until(lambda: 55 < sim.load_kw < 62, 15, "load near the surplus")
    before_w = float(sim.farm.bank.true_power_w[list(ON_B)].sum())

    sim.fault(Fault.POWER_LOSS, ON_B, on=True)
    until(lambda: daemon.events("mass_disconnect"), SEEN_WITHIN_S, "said at once")
    until(lambda: _said_dark(site), 4, "the meter says that they are dark")
    time.sleep(2)
    off_b = [name for index, name in enumerate(sim.ids) if index not in ON_B]
    until(lambda: not set(off_b) & set(sim.asleep()), 12, "those of the other feeder take their place")

    powered = time.monotonic()
    sim.fault(Fault.POWER_LOSS, ON_B, on=False)
    bank = sim.farm.bank
    until(lambda: bool(bank.boards_on[list(ON_B)].any()), 6, "the first starts by itself")
    peak_w = 0.0
    deadline = time.monotonic() + 6.5
    while time.monotonic() < deadline:
        peak_w = max(peak_w, float(bank.true_power_w[list(ON_B)].sum()))
        time.sleep(0.05)
    assert peak_w < 0.6 * before_w, "put to sleep as they start, not let up in a crowd"
    until(lambda: 56 < sim.load_kw < 62, 20, "all let in")
    until(lambda: daemon.events("mass_return"), 5, "the return")

    truth = sim.truth(powered)
    load_w = np.array([row.site_load_w for row in truth])
    cap_w = np.array([row.cap_follow_w for row in truth])
    assert float((load_w - cap_w).max()) < 0.01 * sim.rated_w, "never above the surplus"
    steps = round(15.0 / 0.05)
    if len(load_w) > steps:
        rise_w = float((load_w[steps:] - load_w[:-steps]).max())
        assert rise_w < 1.05 * 0.4 * sim.rated_w + 0.03 * sim.rated_w
    told = Counter(verb for wall, _, verb in commands(site, ON_B))
    assert told["wake"] >= 8, "by waves of wakes"
    assert len(daemon.events("mass_disconnect")) == len(daemon.events("mass_return")) == 1
    assert not daemon.events("miner_quarantined")


def _said_dark(site: SmallSite) -> bool:
    said = site.daemon.events("mass_disconnect")[0]["text"]
    return said.endswith("dark") or bool(site.daemon.events("mass_dark"))
