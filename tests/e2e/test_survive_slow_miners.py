"""Miners that answer too slowly for a trim, and in time for a read or a sleep: the limit is kept at true power."""

from __future__ import annotations

import json
from collections import Counter

from controller.domain.journalling import RowKind
from simulators.faults import Fault
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import always, until

FLEET = {"s21": 8, "s19xp": 8, "s19kpro": 8}
FULL_KW, LOW_KW = 78.0, 30.0
ANSWERS_S = 0.3  # of the deadline of 0.9 s: enough for the two calls of a sleep, too long for the four of a trim
LIMIT_KEPT_S = 12.0  # the first look at the new surplus, two deadlines, a sleep, and a lot of room on a busy machine


def outcomes(site: SmallSite) -> Counter[tuple[str, str]]:
    """How often each verb ended in which way."""
    verbs: dict[int, str] = {}
    ended: Counter[tuple[str, str]] = Counter()
    for row in site.rows(RowKind.COMMAND, RowKind.OUTCOME):
        body = json.loads(row.body)
        verbs |= {command[0]: command[2] for command in body.get("commands", ())}
        ended.update((verbs[report[0]], report[2]) for report in body.get("reports", ()))
    return ended


def test_when_no_trim_ever_arrives_miners_are_put_to_sleep_and_the_limit_is_kept(make_site: MakeSite) -> None:
    site = make_site("slow", surplus_kw=FULL_KW, models=FLEET, hashing=24)
    site.configure(ramp={"up": "3000 %/min"}, fleet={"adopt_sleepers_at_start": False})
    for faults in site.sim.farm.faults:
        faults.on(Fault.DELAY, ANSWERS_S)
    sim, tolerance_kw = site.sim, 0.01 * site.sim.rated_w / 1e3
    site.daemon.start()
    until(lambda: len(site.status()["inputs"]) >= 3 and site.status()["fail_safe"] == "good", 15, "inputs")
    until(lambda: site.status()["miners"].get("hashing") == 24, 15, "every miner read")
    sim.surplus.power_w = LOW_KW * 1e3
    until(lambda: sim.load_kw <= sim.cap_kw + tolerance_kw < LOW_KW + 5, LIMIT_KEPT_S, "the limit kept")
    always(lambda: sim.load_kw <= LOW_KW + tolerance_kw, 3, "above the limit once more")
    ended = outcomes(site)
    assert ended["trim", "unreachable"] >= 2
    assert not {how for verb, how in ended if verb == "trim"} & {"acknowledged", "applied"}, "a trim arrived"
    assert len(site.daemon.events("trims_lost")) == 1
    assert not site.daemon.events("mass_disconnect"), "who answers its reads is not away"
    assert site.daemon.end() == 0
