"""SIGHUP as an operator sends it: good files take over in the same process, broken ones change nothing and say why."""

from __future__ import annotations

import signal

from controller.domain.journalling import RowKind
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

SMALL = {"s21": 2, "s19jpro": 6}


def running(make_site: MakeSite, name: str) -> SmallSite:
    """A site that has put some of its miners to sleep."""
    site = make_site(name, surplus_kw=14, models=SMALL, hashing=8)
    site.configure(fleet={"adopt_sleepers_at_start": False})
    site.daemon.start()
    until(lambda: site.sim.load_kw < 14.5 and len(site.sim.asleep()) >= 3, 15, "down to the surplus")
    until(site.sim.stands_still, 30, "at rest: the last command has had its effect")
    return site


def test_a_broken_inventory_keeps_the_old_one_and_every_problem_is_named(make_site: MakeSite) -> None:
    site = running(make_site, "broken")
    inventory = site.folder / "fleet.csv"
    good = inventory.read_text()
    inventory.write_text(good + "m99,Antminer S99,LuxOS,127.0.0.1,4028,a\nm00,Antminer S21,LuxOS,127.0.0.1,1,nowhere\n")
    site.daemon.process.send_signal(signal.SIGHUP)
    until(lambda: site.daemon.events("reload_refused"), 5, "the refusal")
    said = site.daemon.events("reload_refused")[0]["text"]
    assert all(word in said for word in ("Antminer S99", "nowhere", "fleet.csv", "old ones stay in force"))
    assert "RELOADING" not in " ".join(site.daemon.told)
    site.sim.surplus.power_w = 8e3
    until(lambda: site.sim.load_kw < 8.5, 15, "still following the surplus")
    assert len(site.status()["miners"]) and site.daemon.alive
    inventory.write_text(good)
    site.config.write_text(site.config.read_text().replace(f'id = "{site.id}"', 'id = "another"', 1))
    site.daemon.process.send_signal(signal.SIGHUP)
    until(lambda: len(site.daemon.events("reload_refused")) == 2, 5, "the second refusal")
    assert "site.id is broken and cannot become another" in site.daemon.events("reload_refused")[1]["text"]


def test_a_good_inventory_takes_over_in_the_same_process_and_the_load_does_not_move(make_site: MakeSite) -> None:
    site = running(make_site, "reload")
    before, asleep, pid = site.sim.load_kw, set(site.sim.asleep()), site.daemon.process.pid
    inventory = site.folder / "fleet.csv"
    lines = inventory.read_text().splitlines()
    gone = next(line for line in lines[1:] if line.split(",")[0] not in asleep).split(",")[0]
    inventory.write_text("\n".join(line for line in lines if not line.startswith(f"{gone},")) + "\n")
    site.daemon.told.clear()
    site.daemon.process.send_signal(signal.SIGHUP)
    until(lambda: any(text.startswith("RELOADING=1\nMONOTONIC_USEC=") for text in site.daemon.told), 5, "RELOADING")
    always(lambda: abs(site.sim.load_kw - before) < 0.01 * site.sim.rated_w / 1e3, 1.0, "the load moved")
    until(lambda: "READY=1" in site.daemon.told, 10, "READY again")
    until(lambda: site.status()["fail_safe"] == "good", 10, "in control")
    assert site.daemon.process.pid == pid and site.daemon.alive
    status = site.status()
    assert sum(status["miners"].values()) == len(lines) - 2
    assert status["miners"]["foreign_sleeper"] == 0, "who slept by our order is remembered"
    assert site.cli("explain", gone).code != 0
    assert "STOPPING=1" not in site.daemon.told
    site.sim.surplus.power_w = 26e3
    until(lambda: not asleep <= set(site.sim.asleep()), 20, "our sleepers woken")
    assert site.daemon.end() == 0
    kinds = [row.kind for row in site.rows(RowKind.START, RowKind.STOP)]
    assert kinds == [RowKind.START, RowKind.STOP] * 2
