"""The daemon as systemd sees it: start, watchdog, following the surplus, the clean stop and what it leaves behind."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from controller.commands.replay import replay
from controller.domain.journalling import RowKind
from controller.runtime.journal_file import read_rows
from tests.e2e.conftest import MakeSite
from tests.e2e.dispatcher import Dispatcher
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}


def test_follows_the_surplus_down_and_up_and_leaves_the_load_where_it_is_when_told_to_stop(
    make_site: MakeSite, nats: Broker
) -> None:
    site = make_site("lifecycle", surplus_kw=53)
    site.configure(nats.port)
    site.daemon.start()
    sim, told = site.sim, site.daemon.told
    sim.surplus.power_w = 25e3
    until(lambda: 20 < sim.load_kw < 25, 12, "load down to the lower surplus")
    sim.surplus.power_w = 38e3
    until(lambda: 34 < sim.load_kw < 38, 20, "load up to the higher surplus")
    assert any(line.startswith("STATUS=") and "bound by surplus" in line for line in told)
    beats = told.count("WATCHDOG=1")
    until(lambda: told.count("WATCHDOG=1") > beats, 5, "another WATCHDOG=1")
    with Dispatcher(nats.port, site.id) as dispatcher:
        until(lambda: any(state["online"] for state in dispatcher.states), 10, "a state of a living daemon")
        written = sim.writes()
        assert site.daemon.end() == 0
        until(lambda: dispatcher.states[-1]["online"] is False, 5, "the goodbye")
        assert dispatcher.states[-1]["reason"] == "stopped"
    until(lambda: "STOPPING=1" in told, 5, "STOPPING=1")
    assert told.index("READY=1") < told.index("WATCHDOG=1") < told.index("STOPPING=1")
    with Dispatcher(nats.port, site.id) as late:
        until(lambda: late.states, 5, "the retained state")
        assert late.states[0]["online"] is False
    always(lambda: sim.load_kw > 32, 0.5, "the stop moved the load")
    assert sim.writes() <= written + 8, "the stop commanded the fleet"
    _check_rows(site)
    _check_replay(site)


def _check_rows(site: SmallSite) -> None:
    rows = site.rows()
    kinds = [row.kind for row in rows]
    assert kinds[0] is RowKind.START
    assert kinds[-1] is RowKind.STOP
    assert RowKind.CHECKPOINT in kinds[-3:-1]
    assert kinds[-2] in (RowKind.CHECKPOINT, RowKind.OUTCOME), "what the stop waited for, and nothing else"
    assert {RowKind.DECISION, RowKind.COMMAND, RowKind.OUTCOME, RowKind.VERDICT, RowKind.READINGS} <= set(kinds)
    prior_at: dict[str, int] = {}
    for place, row in enumerate(rows):
        body = json.loads(row.body)
        if row.kind is RowKind.PRIOR:
            assert body["miner"] not in prior_at, "a prior mode is journalled once"
            prior_at[body["miner"]] = place
        for command in body["commands"] if row.kind is RowKind.COMMAND else ():
            assert prior_at[site.sim.ids[command[1]]] < place, "commanded before its prior mode was on record"
    assert set(prior_at) == set(site.sim.ids)


def _check_replay(site: SmallSite) -> None:
    """The same inputs through the same core give the same decisions, to the byte."""
    found, _ = replay(iter(site.rows()))
    assert found.differing == 0
    assert found.cycles == len(site.rows(RowKind.DECISION)) > 20


def test_with_on_exit_fallback_a_stop_ramps_down_first_and_the_next_start_is_free_again(make_site: MakeSite) -> None:
    site = make_site("drain", surplus_kw=20, models=SMALL, hashing=8)
    site.configure(site={"on_exit": "fallback"})
    site.daemon.start()
    until(lambda: site.sim.load_kw < 20.5, 15, "load down to the surplus")
    assert site.daemon.end() == 0
    assert site.sim.load_kw < 5 + 0.05 * site.sim.rated_w / 1e3
    site.daemon.start()
    until(lambda: site.status()["setpoint"]["bound"] == "ramp_up" or site.sim.load_kw > 8, 10, "on the way up again")


def test_a_second_signal_does_not_wait_for_the_way_down(make_site: MakeSite) -> None:
    site = make_site("hurry", surplus_kw=20, models=SMALL, hashing=8)
    site.configure(site={"on_exit": "fallback"}, ramp={"down": "2 %/min", "down_15s": "1 %"})
    site.daemon.start()
    until(lambda: site.sim.load_kw < 20.5, 15, "load down to the surplus")
    site.daemon.process.send_signal(signal.SIGTERM)
    until(lambda: "STOPPING=1" in site.daemon.told, 5, "the first signal heard")
    asked_at = time.monotonic()
    assert site.daemon.end() == 0
    assert time.monotonic() - asked_at < 10, "at 2 %/min the way down takes half an hour"


def test_a_killed_daemon_is_in_control_again_within_ten_seconds_and_remembers_who_sleeps(make_site: MakeSite) -> None:
    site = make_site("killed", surplus_kw=8, models=SMALL, hashing=8)
    site.configure(fleet={"adopt_sleepers_at_start": False})
    site.daemon.start()
    sim = site.sim
    until(lambda: sim.load_kw < 9 and sim.asleep() and sim.stands_still(), 25, "some asleep by our order, none moving")
    before = sim.load_kw
    site.daemon.end(signal.SIGKILL)
    killed_at = time.monotonic()
    site.daemon.start()
    until(
        lambda: site.status()["fail_safe"] == "good" and sim.load_kw < 9, 10 - (time.monotonic() - killed_at), "control"
    )
    assert abs(sim.load_kw - before) < 2
    status = site.status()
    assert status["miners"]["foreign_sleeper"] == 0
    assert any(event["name"] == "resumed" for event in status["events"])
    ours = set(sim.asleep())
    sim.surplus.power_w = 26e3
    until(lambda: sim.load_kw > 18 and not ours <= set(sim.asleep()), 20, "our sleepers woken")
    assert site.daemon.end() == 0
    _check_ids_and_priors(site.journal, len(sim.ids))


def _check_ids_and_priors(journal: Path, miners: int) -> None:
    commanded: list[int] = []
    for row in read_rows(journal, (RowKind.COMMAND,)):
        commanded += [command[0] for command in json.loads(row.body)["commands"]]
    assert commanded == sorted(set(commanded)), "a command number was used twice"
    priors = [json.loads(row.body) for row in read_rows(journal, (RowKind.PRIOR,))]
    assert len(priors) == len({prior["miner"] for prior in priors}) == miners
    assert {prior["prior"] for prior in priors} == {"default"}
