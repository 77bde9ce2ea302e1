"""A person on the machine lowers the site for a while, and gives miners back to their owner."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from controller.domain.journalling import RowKind
from simulators.faults import Fault
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

SURPLUS_KW = 40.0
CAP_KW = 25.0


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite) -> SmallSite:
    """Sixteen miners, more than the surplus carries."""
    made = make_module_site("operated", surplus_kw=SURPLUS_KW, hashing=12)
    made.configure()
    made.daemon.start()
    until(lambda: SURPLUS_KW - 4 < made.sim.load_kw < SURPLUS_KW, 30, "load near the surplus")
    return made


def explained(site: SmallSite) -> dict[str, dict[str, Any]]:
    return {miner: site.ask("explain", miner=miner) for miner in site.sim.ids}


def profile(site: SmallSite, miner: str) -> str:
    """What the miner really runs."""
    index = site.sim.ids.index(miner)
    return site.sim.models[index].profiles[int(site.sim.farm.bank.profile_index[index])].name


def test_a_cap_by_a_person_holds_the_site_down_until_it_is_released(site: SmallSite) -> None:
    capped = site.cli("cap", f"{CAP_KW:g}kW", "--for", "2m")
    assert capped.code == 0, capped.errors
    assert f"cap {CAP_KW:.1f} kW until" in capped.out
    until(lambda: site.status()["operator_caps"], 2, "the cap in force")
    site.daemon.end(signal.SIGKILL)
    for faults in site.sim.farm.faults:  # a call that the kill cut off leaves its miner's session open for a minute:
        faults.on(Fault.STALE_SESSION)  # over now, for what is given back further down waits for another's
    site.daemon.start()
    until(lambda: site.sim.load_kw < CAP_KW + 1, 20, "load down to the cap that outlived the daemon")
    status = site.status()
    assert status["setpoint"]["bound"] == "operator"
    (cap,) = status["operator_caps"]
    assert (cap["kw"], "uid" in cap["operator"]) == (CAP_KW, True)
    assert "caps of operators" in site.cli("status").out
    assert any("uid" in row.body for row in site.rows(RowKind.OPERATOR)), "the journal names who ordered it"
    released = site.cli("release")
    assert (released.code, released.out.strip()) == (0, "release: 1 caps ended")
    until(lambda: site.sim.load_kw > SURPLUS_KW - 5, 30, "load up again")
    assert site.status()["operator_caps"] == []


def test_a_cap_ends_by_itself_and_needs_a_power_and_an_end(site: SmallSite) -> None:
    assert site.cli("cap", f"{CAP_KW:g}kW").code == 2
    assert site.cli("cap", "300", "--for", "1h").code == 2
    assert site.cli("cap", "300kW", "--for", "400d").code == 3
    assert site.status()["operator_caps"] == []
    assert site.cli("cap", f"{CAP_KW:g}kW", "--for", "3s").code == 0
    until(lambda: site.status()["operator_caps"], 2, "the cap in force")
    until(lambda: not site.status()["operator_caps"], 6, "the end of the cap")


def test_what_would_raise_the_load_above_the_surplus_is_not_given_back(site: SmallSite) -> None:
    until(lambda: site.sim.load_kw > SURPLUS_KW - 4, 30, "load near the surplus")
    site.sim.surplus.power_w = 30e3
    until(lambda: site.sim.load_kw < 31, 15, "load down to the lower surplus")
    refused = site.cli("restore", "--all")
    assert (refused.code, "room for" in refused.errors) == (3, True), refused.out + refused.errors
    assert not any(page["why"] == "observed" for page in explained(site).values())
    site.sim.surplus.power_w = SURPLUS_KW * 1e3


def test_a_miner_given_back_runs_what_it_ran_before_and_is_left_alone_until_it_is_adopted(site: SmallSite) -> None:
    until(lambda: site.sim.load_kw > SURPLUS_KW - 4, 30, "load near the surplus")
    assert site.cli("cap", f"{CAP_KW:g}kW", "--for", "2m").code == 0
    until(lambda: site.sim.load_kw < CAP_KW + 1, 15, "load down to the cap")
    pages = until(lambda: settled(site), 15, "a trimmed miner and a sleeping one, both settled")
    trimmed = next(miner for miner, page in pages.items() if is_trimmed(page))
    sleeper = next(miner for miner, page in pages.items() if page["condition"] == "asleep")
    assert profile(site, trimmed) != "default"
    restored = site.cli("restore", trimmed, sleeper)
    assert restored.code == 0, restored.out + restored.errors
    assert f"{trimmed}  applied" in restored.out
    assert (profile(site, trimmed), profile(site, sleeper)) == ("default", "default")
    assert sleeper in site.sim.asleep(), "a profile wakes nobody"
    page = site.ask("explain", miner=trimmed)
    assert (page["why"], page["planned"]) == ("observed", "left alone")
    assert (page["commands"][-1]["verb"], page["commands"][-1]["outcome"]) == ("restore", "applied")
    assert {event["miner"] for event in site.daemon.events("miner_restored")} == {trimmed, sleeper}
    told = [row.body for row in site.rows(RowKind.EVENT) if "miner_restored" in row.body]
    assert len(told) == 2
    assert site.cli("release").code == 0
    rows = [site.sim.ids.index(miner) for miner in (trimmed, sleeper)]
    written = [len(site.sim.farm.miners[row].log.writes) for row in rows]
    until(lambda: site.sim.load_kw > SURPLUS_KW - 5, 30, "the others up")
    assert [len(site.sim.farm.miners[row].log.writes) for row in rows] == written, "no more commands to either"
    assert sleeper in site.sim.asleep()
    assert site.cli("adopt", trimmed, sleeper).code == 0
    until(lambda: site.ask("explain", miner=trimmed)["why"] != "observed", 5, "taken back")


def test_the_way_to_take_the_daemon_away_leaves_every_miner_as_it_was_found_but_asleep(site: SmallSite) -> None:
    assert site.cli("cap", "0kW", "--for", "5m").code == 0
    until(lambda: len(site.sim.asleep()) == len(site.sim.ids), 20, "the whole fleet asleep")
    until(lambda: all(page["condition"] == "asleep" for page in explained(site).values()), 10, "seen asleep")
    restored = site.cli("restore", "--all")
    assert restored.code == 0, restored.out + restored.errors
    assert "restore: 16 miners" in restored.out
    assert {profile(site, miner) for miner in site.sim.ids} == {"default"}
    assert site.cli("release").code == 0
    written = site.sim.writes()
    always(lambda: len(site.sim.asleep()) == len(site.sim.ids), 2, "somebody was woken")
    assert site.daemon.end() == 0
    assert site.sim.writes() == written, "somebody was told something after it was given back"


def is_trimmed(page: dict[str, Any]) -> bool:
    return page["condition"] == "hashing" and page["level"] != page["prior"]


def settled(site: SmallSite) -> dict[str, dict[str, Any]]:
    """Every miner's page once a trimmed and a sleeping one are settled; empty before."""
    pages = {miner: page for miner, page in explained(site).items() if page["verdict"] == "settled"}
    asleep = [miner for miner, page in pages.items() if page["condition"] == "asleep"]
    return pages if asleep and any(is_trimmed(page) for page in pages.values()) else {}
