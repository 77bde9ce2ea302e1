"""A daemon that dies again and again comes back in safe mode: down to the fallback, nobody woken, a person called."""

from __future__ import annotations

import json
import signal
import time

from controller.domain.journalling import RowKind
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

SMALL = {"s21": 2, "s19jpro": 6}
CRASHES = 2
LARGEST_KW = 3.6
RAMP_KW_PER_S = 26.9 * 1.5 / 60  # 150 %/min of its rated power


def crashed(make_site: MakeSite, name: str) -> SmallSite:
    """A site at full load whose daemon was killed as often as the limit allows."""
    site = make_site(name, surplus_kw=30, models=SMALL, hashing=8)
    site.configure(restart={"crash_limit": CRASHES}, ramp={"fallback": "150 %/min"})
    for _ in range(CRASHES):
        site.daemon.start()
        site.daemon.end(signal.SIGKILL)
    return site


def test_after_too_many_crashes_the_load_ramps_to_the_fallback_and_a_restart_ends_it(make_site: MakeSite) -> None:
    site = crashed(make_site, "loop")
    sim = site.sim
    full, began = sim.load_kw, time.monotonic()
    assert not sim.asleep()
    site.daemon.start()
    alarm = until(lambda: site.daemon.events("safe_mode"), 5, "the alarm")[0]
    assert (alarm["level"], "died 2 times" in alarm["text"]) == ("error", True)
    assert any("STATUS=SAFE MODE" in text for text in site.daemon.told)
    until(lambda: sim.load_kw <= 5.5, 60, "the way down to the fallback")
    truth = sim.truth(began)
    load_kw = [row.site_load_w / 1e3 for row in truth]
    later = round(3.0 / (truth[1].at_s - truth[0].at_s))
    falls_kw = [before - after for before, after in zip(load_kw, load_kw[later:], strict=False)]
    rises_kw = [after - min(load_kw[: place + 1]) for place, after in enumerate(load_kw)]
    # 3 s of the ramp, one miner, and what arrives together because a second is the beat; off a cliff it is all of it.
    assert max(falls_kw) < 3.0 * RAMP_KW_PER_S + 2 * LARGEST_KW < full - 5.5
    assert max(rises_kw) < 0.3, "the load rose on its way down"
    assert sim.writes() <= len(sim.ids), "one write a miner is enough"
    refused = site.cli("status")
    assert refused.code != 0
    assert "SAFE MODE" in refused.errors + refused.out
    told = site.daemon.told.count("WATCHDOG=1")
    sim.surplus.power_w = 60e3
    always(lambda: sim.load_kw <= 5.6, 2.0, "something was woken")
    assert site.daemon.told.count("WATCHDOG=1") > told
    assert site.daemon.end() == 0
    site.daemon.start()
    until(lambda: site.status()["fail_safe"] == "good", 15, "in control again")
    assert site.status()["miners"]["foreign_sleeper"] == 0, "what safe mode put to sleep is ours to wake"
    until(lambda: sim.load_kw > 20, 30, "the fleet woken again")
    assert site.daemon.end() == 0
    ids = [command[0] for row in site.rows(RowKind.COMMAND) for command in json.loads(row.body)["commands"]]
    assert ids == sorted(set(ids)), "a command number was used twice"


def test_safe_mode_stays_until_a_person_ends_it_even_when_it_is_killed_itself(make_site: MakeSite) -> None:
    site = crashed(make_site, "sticky")
    site.daemon.start()
    until(lambda: site.daemon.events("safe_mode"), 5, "the alarm")
    site.daemon.end(signal.SIGKILL)
    site.daemon.start()
    until(lambda: len(site.daemon.events("safe_mode")) >= 2, 5, "the alarm again")
    assert site.daemon.end() == 0
    assert not (site.journal.with_name(f"starts-{site.id}.json")).exists()
