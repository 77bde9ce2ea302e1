"""SIGTERM with a dozen commands on their way: out within seconds, the load goes where it was sent, nothing is torn."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing

from controller.domain.journalling import RowKind
from simulators.faults import Fault
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

FLEET = {"s21": 8, "s19xp": 8, "s19kpro": 8}
FULL_KW, LOW_KW = 78.0, 30.0
ANSWERS_S = 0.15  # a miner that takes its time: its command is on the way for as long
CLEAN_WITHIN_S = 5.0
IN_FLIGHT = 10


def in_flight(site: SmallSite) -> int:
    """Commands that were journalled and have no outcome yet."""
    commands: set[int] = set()
    done: set[int] = set()
    for row in site.rows(RowKind.COMMAND, RowKind.OUTCOME):
        body = json.loads(row.body)
        commands |= {command[0] for command in body.get("commands", ())}
        done |= {report[0] for report in body.get("reports", ())}
    return len(commands - done)


def stopped_under_load(site: SmallSite) -> None:
    """Send SIGTERM once ten commands are on their way, and look at what it leaves behind."""
    until(lambda: in_flight(site) >= IN_FLIGHT, 10, f"{IN_FLIGHT} commands on their way")
    asked_at = time.monotonic()
    assert site.daemon.end() == 0
    assert time.monotonic() - asked_at < CLEAN_WITHIN_S
    assert not site.daemon.alive
    with closing(sqlite3.connect(site.journal)) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = site.rows()
    kinds = [row.kind for row in rows]
    behind = kinds[len(kinds) - kinds[::-1].index(RowKind.CHECKPOINT) :]
    assert behind in ([RowKind.OUTCOME, RowKind.STOP], [RowKind.STOP])
    for row in rows:
        json.loads(row.body)


def test_a_stop_in_the_middle_of_a_curtailment_and_of_a_restore_leaves_the_load_and_goes_on_at_the_next_start(
    make_site: MakeSite,
) -> None:
    site = make_site("stopped", surplus_kw=FULL_KW, models=FLEET, hashing=24)
    site.configure(ramp={"up": "3000 %/min"}, fleet={"wakes_per_cycle": 24, "adopt_sleepers_at_start": False})
    for faults in site.sim.farm.faults:
        faults.on(Fault.DELAY, ANSWERS_S)
    sim, tolerance_kw = site.sim, 0.01 * site.sim.rated_w / 1e3
    site.daemon.start()
    until(lambda: len(site.status()["inputs"]) >= 3 and site.status()["fail_safe"] == "good", 15, "inputs")
    until(lambda: site.status()["miners"].get("hashing") == 24, 15, "every miner read")
    before_kw = sim.load_kw
    sim.surplus.power_w = LOW_KW * 1e3
    stopped_under_load(site)
    assert in_flight(site) == 0, "what became of a command that the stop waited for is not on record"
    always(lambda: sim.load_kw <= before_kw + tolerance_kw, 2, "the stop in a curtailment raised the load")
    written = sim.writes()
    always(lambda: sim.writes() == written, 0.5, "somebody commands on")

    site.daemon.start()
    until(lambda: sim.load_kw < LOW_KW + tolerance_kw, 12, "the curtailment brought to its end")
    assert len(site.daemon.events("resumed")) == 1
    assert site.status()["miners"]["foreign_sleeper"] == 0

    sim.surplus.power_w = FULL_KW * 1e3
    stopped_under_load(site)
    always(lambda: sim.load_kw <= sim.cap_kw + tolerance_kw, 2, "the stop in a restore raised the load too far")
    site.daemon.start()
    until(lambda: sim.load_kw > before_kw - 5, 25, "the restore brought to its end")
    assert site.daemon.end() == 0
    numbers = [command[0] for row in site.rows(RowKind.COMMAND) for command in json.loads(row.body)["commands"]]
    assert numbers == sorted(set(numbers)), "a command number was used twice"
    priors = [json.loads(row.body)["miner"] for row in site.rows(RowKind.PRIOR)]
    assert sorted(priors) == sorted(sim.ids), "prior modes: each once, whatever was cut off"
