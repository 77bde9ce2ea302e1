"""An order looked ahead at beside the same order given, in virtual time: real core and physics, one in 100 odd."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from controller.core.preview import Preview
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.dispatch import AnswerStatus, Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.fleet import Condition
from controller.domain.plan import OperatorOrder, OperatorVerb, Snapshot
from controller.domain.reasons import Why
from controller.runtime.whole_state import state_row
from tests.rig.large import large_setup
from tests.rig.setup import WALL_AT_START, Message, Operation
from tests.rig.site import Site
from tests.rig.surplus import Steps

ORDERED_S, SECONDS = 200.0, 270.0
TOLERANCE_RATIO = 0.02  # of rated
TOLERANCE_FAST_RATIO = 0.04  # while a shed is under way, thousands of watts a second
REACHED_WITHIN_S = 3.0


@dataclass
class Watched:
    """The site's own engine, and the snapshot of the last cycle."""

    site: Site
    snapshot: Snapshot | None = None

    def __post_init__(self) -> None:
        self.engine = self.site.engine
        self.facts, self.policy = self.engine.facts, self.engine.policy

    def step(self, state: State, snapshot: Snapshot, now: float):
        self.snapshot = snapshot
        return self.engine.step(state, snapshot, now)


def given(kind: DispatchKind, power_w: int | None, dispatch_class: DispatchClass) -> Dispatch:
    wall = WALL_AT_START + ORDERED_S
    return Dispatch("looked-at", "desk", 1, wall, wall + 900.0, dispatch_class, kind, power_w)


def ahead(order: Dispatch, *, operations: tuple[Operation, ...] = ()) -> tuple[Preview, Site]:
    """A preview made at ORDERED_S, and the site a moment later, the order on its way to it."""
    setup = large_setup(60, SECONDS)
    level_w = 0.8 * setup.policy.rated_w
    message = Message(ORDERED_S + 0.01, Received(order, 0.0), obeyed=True)
    steady = Steps((0.0, SECONDS), (level_w, level_w))
    site = Site(replace(setup, surplus=steady, messages=(message,), operations=operations))
    watched = Watched(site)
    site.engine = watched  # type: ignore[assignment]
    while site.now_s < ORDERED_S - 1e-6:
        site.advance()
    assert watched.snapshot is not None
    snapshot = replace(watched.snapshot, wall=order.issued_at)
    before = state_row(0.0, site.state).body
    preview = Preview(watched.engine, site.state, snapshot, order, site.now_s, setup.sweep_s)
    while not preview.over:
        preview.advance()
    assert state_row(0.0, site.state).body == before, "a preview leaves the state as it is"
    return preview, site


@pytest.mark.parametrize(
    ("kind", "share", "dispatch_class"),
    [
        (DispatchKind.CAP, 0.4, DispatchClass.NORMAL),
        (DispatchKind.CAP, 0.4, DispatchClass.EMERGENCY),
        (DispatchKind.TARGET, 0.3, DispatchClass.NORMAL),
        (DispatchKind.CAP, 0.95, DispatchClass.NORMAL),
    ],
)
def test_what_is_predicted_is_what_happens_when_the_order_is_given(
    kind: DispatchKind, share: float, dispatch_class: DispatchClass
) -> None:
    rated_w = large_setup(60, SECONDS).policy.rated_w
    preview, site = ahead(given(kind, round(share * rated_w), dispatch_class))
    record = site.run()
    tolerance = TOLERANCE_FAST_RATIO if dispatch_class is DispatchClass.EMERGENCY else TOLERANCE_RATIO
    for mark in preview.marks:
        if mark.after_s <= SECONDS - ORDERED_S:
            true_w = next(
                load_w
                for at_s, load_w in zip(record.t_s, record.load_w, strict=True)
                if at_s >= ORDERED_S + mark.after_s
            )
            assert abs(mark.power_w - true_w) <= tolerance * rated_w, mark
    reached_s = next(at for at, answer in record.answers if answer.status is AnswerStatus.REACHED) - ORDERED_S
    assert preview.reached_after_s == pytest.approx(reached_s, abs=REACHED_WITHIN_S)
    since = [row for row in record.cycles if row.at_s >= ORDERED_S]
    slept = {command.miner for row in since for command in row.commands if command.verb is Verb.SLEEP}
    foreseen = {
        miner
        for (miner, verb), move in preview.moves.items()
        if verb is Verb.SLEEP and move.after_s <= SECONDS - ORDERED_S
    }
    assert (not foreseen) == (share > 0.9)
    # Trim stands in for whoever is late, and one block more or less is as good in the end.
    assert len(foreseen ^ slept) <= 3, "who sleeps is who was said to"


def test_who_is_left_out_is_named_with_the_reason_and_an_impossible_order_is_refused() -> None:
    parked = Operation(20.0, OperatorOrder(OperatorVerb.RESTORE, "ops", miners=(3, 4)))
    preview, site = ahead(given(DispatchKind.CAP, 0, DispatchClass.NORMAL), operations=(parked,))
    assert {miner for miner, why in preview.skipped.items() if why is Why.OBSERVED} == {3, 4}
    assert not {3, 4} & {miner for miner, _ in preview.moves}
    clamped = next(answer for answer in preview.answers if answer.status is AnswerStatus.CLAMPED)
    drawn_w = sum(
        float(site.state.fleet.to_w[miner])
        for miner in (3, 4)
        if site.state.fleet.condition[miner] == Condition.HASHING
    )
    assert clamped.power_w is not None
    assert clamped.power_w > drawn_w + site.setup.policy.auxiliary_w
    refused, _ = ahead(given(DispatchKind.TARGET, 10 * site.setup.policy.rated_w, DispatchClass.NORMAL))
    assert refused.refused
    assert not refused.moves
