"""What a person on the machine sees and may do, on a site with a liar, a refuser and two foreign sleepers."""

from __future__ import annotations

import pytest

from controller.domain.journalling import RowKind
from simulators.asic.response import Behaviour
from tests.e2e.conftest import MakeSite
from tests.e2e.processes import curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

REFUSER, LIAR = "m04", "m05"
FOREIGN = ["m06", "m07"]


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite) -> SmallSite:
    """Eight miners: six hash, the worst two of them do not obey; two sleep by somebody else's order."""
    made = make_module_site(
        "console",
        surplus_kw=4,  # so little that even the liar is told to sleep
        models={"s21": 2, "s19xp": 2, "s19kpro": 2, "s19jpro": 2},
        hashing=6,
        behaviours={4: Behaviour.REFUSES, 5: Behaviour.LIAR_SLEEP},
    )
    made.configure(fleet={"adopt_sleepers_at_start": False})
    made.daemon.start()
    return made


def test_a_liar_and_a_refuser_end_in_quarantine_and_are_named(site: SmallSite) -> None:
    until(lambda: set(site.status()["quarantined"]) == {REFUSER, LIAR}, 40, "both in quarantine")
    explained = site.cli("explain", LIAR, "--json").json()
    assert explained["verdict"] == "quarantined"
    assert explained["why"] == "quarantined"
    assert explained["quarantine"]["times"] == 1
    assert explained["commands"][-1]["verdict"] == "quarantined"
    named = {event["miner"] for event in site.daemon.events("miner_quarantined")}
    assert named == {REFUSER, LIAR}
    assert {"m00", "m01", "m02", "m03"} <= set(site.sim.asleep()), "the obedient make up for them"


def test_status_and_explain_speak_to_people_and_to_programs(site: SmallSite) -> None:
    page = site.cli("status")
    assert page.code == 0
    assert page.out.startswith("console  control")
    assert "bound by" in page.out
    status = site.cli("status", "--json").json()
    assert sum(status["miners"].values()) == 8
    assert {entry["name"]: entry["state"] for entry in status["inputs"]} == dict.fromkeys(
        ("poi", "site", "plant", "trip", "permit", "emergency", "frequency"), "good"
    )
    assert abs(status["figures"]["measured_kw"] - site.sim.load_kw) < 3
    lines = site.cli("explain", "m00")
    assert lines.code == 0
    assert lines.out.startswith("m00  Antminer S21")
    assert site.cli("explain", "m00", "--json").json()["prior"] == "default"


def test_questions_nobody_can_answer_get_words_and_a_code(site: SmallSite) -> None:
    unknown = site.cli("explain", "m99")
    assert (unknown.code, "m99" in unknown.errors) == (3, True)
    assert site.cli("adopt", "m99").code == 3
    assert site.cli("adopt").code == 2
    nobody = curtaild("status", "--socket", str(site.folder / "nobody.sock"))
    assert (nobody.code, nobody.out) == (4, "")
    assert "nobody.sock" in nobody.errors
    assert curtaild("status").code == 2


def test_foreign_sleepers_are_left_alone_until_they_are_adopted(site: SmallSite) -> None:
    assert site.status()["miners"]["foreign_sleeper"] == 2
    assert site.cli("explain", FOREIGN[0], "--json").json()["why"] == "foreign_sleeper"
    site.sim.surplus.power_w = 24e3
    until(lambda: site.sim.load_kw > 15, 25, "the others up")
    always(lambda: set(FOREIGN) <= set(site.sim.asleep()), 2, "a foreign sleeper was woken")
    assert not any(site.sim.farm.miners[index].log.writes for index in (6, 7))
    adopted = site.cli("adopt", *FOREIGN)
    assert (adopted.code, adopted.out.strip()) == (0, "adopt: 2 miners")
    until(lambda: not set(FOREIGN) & set(site.sim.asleep()), 20, "adopted sleepers awake")
    orders = [row.body for row in site.rows(RowKind.OPERATOR)]
    assert len(orders) == 1
    assert "uid" in orders[0]


def test_a_miner_in_quarantine_gets_another_chance_on_a_persons_word(site: SmallSite) -> None:
    freed = site.cli("unquarantine", LIAR)
    assert freed.code == 0
    until(lambda: LIAR not in site.status()["quarantined"], 5, "out of quarantine")
    assert REFUSER in site.status()["quarantined"]
