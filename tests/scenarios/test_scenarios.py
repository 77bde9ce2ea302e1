"""Each file of this folder, played in virtual time: what it expects, in words, and the decisions that were accepted.

When the law was changed on purpose, look at `python -m tests.rig.scenario NAME`, then keep it with `--accept`.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from controller.domain.command import Verb
from tests.rig import expectations, scenario_file, scenario_setup
from tests.rig.scenario import Played
from tests.rig.scenario_file import FOLDER, Scenario, ScenarioError
from tests.rig.site import Site

PLAIN = """
why = "Forty miners, a surplus that falls, an order, a frequency that falls."
source = "this test"
minutes = 3.5
[site]
fleet = { luxos = 20, whatsminer = 20, asleep_percent = 50 }
surplus_percent = 60
dispatcher = true
[[at]]
t = 30.0
do = "order"
order = "peak"
kind = "cap"
percent = 50
for_s = 20
[[at]]
t = 70.0
do = "surplus"
percent = 30
[[at]]
t = 130.0
do = "frequency"
hz = 49.2
[[at]]
t = 170.0
do = "frequency"
hz = 50.0
[expect]
holds = ["no miner is quarantined"]
"""


@pytest.mark.parametrize("name", scenario_file.names())
def test_scenario(name):
    played = Played(FOLDER / f"{name}.toml")
    assert [f"{one.sentence}: {one.figure}" for one in played.findings() if not one.holds] == []
    changed = played.differences()
    assert not changed, "\n".join([*changed, f"accept it with: python -m tests.rig.scenario --accept {name}"])


def test_no_golden_file_is_left_over():
    assert {path.stem for path in (FOLDER / "golden").glob("*.txt")} == set(scenario_file.names())


def plain(**changes):
    return Scenario.model_validate(tomllib.loads(PLAIN) | changes)


@pytest.fixture(scope="module")
def runs():
    """The plain scenario by the controller as it is, and by one whose orders to draw less all get lost."""

    def deaf(decision):
        kept = tuple(one for one in decision.commands if one.raises or one.verb is Verb.WAKE)
        return replace(decision, commands=kept)

    setup = scenario_setup.setup_of("plain", plain())
    return {
        "sound": expectations.Run(setup, Site(setup).run()),
        "deaf": expectations.Run(setup, Site(setup, deaf).run()),
    }


TOLD_APART = [
    ("the load never stays above the cap longer than physics allows", "sound", True),
    ("the load never stays above the cap longer than physics allows", "deaf", False),
    ("the load is never above 33 % between 90 s and 130 s", "sound", True),
    ("the load is never above 33 % between 90 s and 130 s", "deaf", False),
    ("the load is never below 25 % between 20 s and 130 s", "sound", True),
    ("the load is never below 25 % between 20 s and 150 s", "sound", False),
    ("the load moves less than 4 % between 95 s and 130 s", "sound", True),
    ("the load moves less than 4 % between 65 s and 130 s", "sound", False),
    ("the load is at the floor between 145 s and 165 s", "sound", True),
    ("the load is at the floor between 145 s and 165 s", "deaf", False),
    ("the mean load is within 2 % of 29 % between 90 s and 130 s", "sound", True),
    ("the mean load is within 2 % of 29 % between 90 s and 130 s", "deaf", False),
    ("the load follows the cap within 4 % between 90 s and 130 s", "sound", True),
    ("the load follows the cap within 4 % between 90 s and 130 s", "deaf", False),
    ("at least 90 % of the surplus is taken between 90 s and 130 s", "sound", True),
    ("at least 90 % of the surplus is taken between 130 s and 170 s", "sound", False),
    ("the load rises at most 12 % in any 15 s between 20 s and 210 s", "sound", True),
    ("the load rises at most 1 % in any 15 s between 170 s and 210 s", "sound", False),
    ("the load falls at most 35 % in any 60 s between 20 s and 120 s", "sound", True),
    ("the load falls at most 12 % in any 60 s between 60 s and 120 s", "sound", False),
    ("nothing is shed between 0 s and 129 s", "sound", True),
    ("nothing is shed between 0 s and 140 s", "sound", False),
    ("the site is shed within 3 s of 130 s", "sound", True),
    ("the site is shed within 3 s of 120 s", "sound", False),
    ("no command raises between 132 s and 165 s", "sound", True),
    ("no command raises between 165 s and 210 s", "sound", False),
    ("at most 0 commands are sent between 150 s and 165 s", "sound", True),
    ("at most 0 commands are sent between 125 s and 165 s", "sound", False),
    ("the event shed is seen between 125 s and 140 s", "sound", True),
    ("the event shed is seen between 0 s and 120 s", "sound", False),
    ("the event shed is seen 1 times in all", "sound", True),
    ("the event shed is seen 2 times in all", "sound", False),
    ("the inputs are good between 10 s and 210 s", "sound", True),
    ("the inputs are fallback between 10 s and 210 s", "sound", False),
    ("the setpoint is bound by dispatch_cap at 48 s", "sound", True),
    ("the setpoint is bound by dispatch_cap at 68 s", "sound", False),
    ("the setpoint is never below 1 % between 5 s and 210 s", "sound", True),
    ("the setpoint is never below 10 % between 5 s and 210 s", "sound", False),
    ("the order peak is answered EXPIRED", "sound", True),
    ("the order peak is answered REJECTED", "sound", False),
    ("no miner is quarantined", "sound", True),
    ("no miner is quarantined", "deaf", False),
    ("no rule of the swarm is broken", "sound", True),
    ("no rule of the swarm is broken", "deaf", False),
]


@pytest.mark.parametrize(("sentence", "controller", "holds"), TOLD_APART)
def test_a_sentence_tells_a_good_run_from_a_bad_one(runs, sentence, controller, holds):
    found = expectations.check(sentence, runs[controller])
    assert found.holds is holds, found.figure


def test_every_sentence_was_seen_to_hold_and_to_fail():
    seen = {(expectations.known(sentence), holds) for sentence, _, holds in TOLD_APART}
    assert seen == {(sentence, holds) for sentence in expectations.SENTENCES for holds in (True, False)}


def test_a_sentence_nobody_checks_is_an_error(runs):
    with pytest.raises(expectations.UnknownSentenceError, match="nobody checks 'all is well'"):
        expectations.check("all is well", runs["sound"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("minutes", "minuets", "minuets: Extra inputs are not permitted"),
        ("for_s = 20", "for_a = 20", "for_a: Extra inputs are not permitted"),
        ('do = "surplus"', 'do = "surplice"', "surplice"),
        ("t = 170.0", "t = 1700.0", "after the end of the run: frequency at 1700 s"),
        ("percent = 50\n", "", "a cap or target needs a percent"),
        ("dispatcher = true", "", "need site.dispatcher = true"),
        ("luxos = 20", "luxos = -1", "greater than or equal to 0"),
        ("[site]", "[site", "Expected ']'"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_words(tmp_path, old, new, says):
    assert old in PLAIN
    path = tmp_path / "odd.toml"
    path.write_text(PLAIN.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ScenarioError) as refused:
        scenario_file.load(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_surplus_that_is_told_two_things_at_once_is_refused():
    happens = [{"t": 20.0, "do": "surplus", "percent": 30, "over_s": 60}, {"t": 50.0, "do": "surplus", "percent": 10}]
    with pytest.raises(ScenarioError, match="before an earlier move is over"):
        scenario_setup.setup_of("odd", plain(at=happens))


def test_another_decision_than_the_accepted_one_is_shown(tmp_path):
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN, encoding="utf-8")
    played = Played(path)
    assert played.differences()
    played.accept()
    assert played.differences() == []
    kept = played.golden_path.read_text(encoding="utf-8")
    played.golden_path.write_text(kept.replace("shed", "spared", 1), encoding="utf-8")
    assert any("spared" in line for line in played.differences())
