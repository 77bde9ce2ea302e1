"""What people may ask over the console, and what they are refused: in virtual time, on a fleet of four."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from controller.core.engine import Engine
from controller.domain.command import Outcome
from controller.domain.plan import Event, EventLevel, InputState, OperatorVerb, Snapshot
from controller.domain.policy import Mode
from controller.runtime.console import ConsoleRefusedError, Peer
from controller.runtime.mailbox import Mailbox
from controller.runtime.operations import Operations, operator_name
from controller.runtime.views import Views
from tests.core.builders import WALL
from tests.core.conftest import Kit
from tests.runtime.fakes import Crew, FakeJournal, FakeLoad, command, let_run

pytestmark = pytest.mark.virtual_time
ROOT = Peer(uid=0, pid=1)


@dataclass(slots=True)
class Desk:
    """Operations on a site of four miners that drew 3.5 kW each before us; `see` says what the last cycle found."""

    operations: Operations
    crew: Crew
    journal: FakeJournal
    events: list[Event]

    async def ask(self, op: str, **request: object) -> Mapping[str, Any]:
        return await self.operations.handlers()[op](request, ROOT)

    def see(
        self,
        hashing: list[bool],
        *,
        surplus_kw: float = 100.0,
        drawn_kw: float = 3.5,
        trust: InputState = InputState.GOOD,
        shed: bool = False,
    ) -> None:
        facts, policy, views = self.operations.facts, self.operations.policy, self.operations.views
        state = Kit.seen_state(facts, hashing)
        state, decision = Engine(facts, policy).step(state, Snapshot(WALL, {}), 1.0)
        top = facts.units[0].model.levels[-1].name
        state.priors = dict.fromkeys(range(len(facts)), top)
        power_w = np.where(hashing, drawn_kw * 1e3, facts.sleep_power_w)
        figures = replace(decision.figures, surplus_w=surplus_kw * 1e3, measured_w=float(power_w.sum()))
        setpoint = replace(decision.setpoint, shed=shed)
        changed = {"figures": figures, "fail_safe": trust, "setpoint": setpoint, "expected_power_w": power_w}
        views.take_cycle(state, replace(decision, **changed))  # type: ignore[arg-type]  # fields of it

    @property
    def restored(self) -> list[int]:
        return [load.miner for load in self.crew.loads if load.restored]


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    facts, policy = Kit.fleet(), Kit.policy()
    async with Crew([FakeLoad(row) for row in range(len(facts))]) as crew:
        journal, events = FakeJournal(), list[Event]()
        operations = Operations(
            facts,
            policy,
            views=Views(facts, policy, {}),
            mailbox=Mailbox(policy),
            actuator=crew.actuator,
            journal=journal,
            announce=events.append,
        )
        yield Desk(operations, crew, journal, events)


async def test_before_the_first_cycle_a_person_is_asked_to_wait(desk: Desk) -> None:
    for op in ("status", "explain", "restore", "release"):
        with pytest.raises(ConsoleRefusedError, match="no cycle has run yet"):
            await desk.ask(op, miners=[], miner="m0")


@pytest.mark.parametrize(
    "request_",
    [
        {"power_w": 300_000},
        {"power_w": 300_000, "for_s": 0},
        {"power_w": 300_000, "for_s": 90_000},
        {"power_w": 300_000, "for_s": float("nan")},
        {"power_w": -1, "for_s": 60},
        {"power_w": True, "for_s": 60},
        {"power_w": "300kW", "for_s": 60},
    ],
)
async def test_a_cap_without_a_power_or_an_end_is_refused(desk: Desk, request_: dict[str, object]) -> None:
    with pytest.raises(ConsoleRefusedError):
        await desk.ask("cap", **request_)
    assert desk.operations.mailbox.freeze(WALL, (), None, True).operator == ()


async def test_a_cap_names_who_ordered_it_and_when_it_ends(desk: Desk) -> None:
    answer = await desk.ask("cap", power_w=20_000, for_s=60)
    (order,) = desk.operations.mailbox.freeze(WALL, (), None, True).operator
    assert (order.verb, order.power_w, order.operator) == (OperatorVerb.CAP, 20_000, "root, uid 0")
    assert order.expires_at is not None
    assert (answer["kw"], answer["operator"]) == (20.0, "root, uid 0")


def test_an_account_without_a_name_is_told_by_its_number() -> None:
    assert operator_name(Peer(uid=2**31 - 7, pid=1)) == f"uid {2**31 - 7}"


async def test_a_restore_parks_the_miner_is_journalled_first_and_told_afterwards(desk: Desk) -> None:
    desk.see([True, True, False, False], drawn_kw=2.5)
    answer = await desk.ask("restore", miners=["m1", "m2"])
    (order,) = desk.operations.mailbox.freeze(WALL, (), None, True).operator
    assert (order.verb, order.miners) == (OperatorVerb.RESTORE, (1, 2))
    assert [(told["miner"], told["outcome"]) for told in answer["outcomes"]] == [("m1", "applied"), ("m2", "applied")]
    assert desk.restored == [1, 2]
    (recorded, row), *_ = desk.journal.rows
    assert "restore_ordered" in row.body
    assert recorded <= desk.crew.loads[1].restored[0][0]
    assert [(event.name, event.miner) for event in desk.events] == [("miner_restored", "m1"), ("miner_restored", "m2")]
    shown = desk.operations.views.explain("m1")["commands"]
    assert isinstance(shown, list)
    assert shown[-1]["verb"] == "restore"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"surplus_kw": 6.0}, "room for 0.9 kW"),
        ({"trust": InputState.HOLD}, "nothing is raised now"),
        ({"shed": True}, "nothing is raised now"),
    ],
)
async def test_a_restore_that_would_raise_the_load_without_room_or_in_doubt_is_refused(
    desk: Desk, seen: dict[str, Any], words: str
) -> None:
    desk.see([True, True, False, False], drawn_kw=2.5, **seen)
    with pytest.raises(ConsoleRefusedError, match=words):
        await desk.ask("restore", miners=[])
    assert desk.restored == []
    assert desk.operations.mailbox.freeze(WALL, (), None, True).operator == ()


async def test_a_restore_that_raises_nothing_needs_no_room(desk: Desk) -> None:
    desk.see([False] * 4, surplus_kw=0.0, trust=InputState.FALLBACK)
    await desk.ask("restore", miners=[])
    assert desk.restored == [0, 1, 2, 3]


async def test_two_restores_do_not_share_the_same_room(desk: Desk) -> None:
    desk.see([True, True, False, False], surplus_kw=6.5, drawn_kw=2.5)
    await desk.ask("restore", miners=["m0"])
    with pytest.raises(ConsoleRefusedError, match=r"room for 0\.4 kW"):
        await desk.ask("restore", miners=["m1"])


async def test_nothing_is_given_back_unrecorded_in_observe_mode_or_to_miners_never_read(desk: Desk) -> None:
    desk.see([True] * 4)
    desk.journal.fate = None
    with pytest.raises(ConsoleRefusedError, match="journal"):
        await desk.ask("restore", miners=[])
    desk.journal.fate = True
    state, _ = desk.operations.views.last()
    state.priors.clear()
    with pytest.raises(ConsoleRefusedError, match="never read"):
        await desk.ask("restore", miners=[])
    desk.operations.policy = Kit.policy(mode=Mode.OBSERVE)
    with pytest.raises(ConsoleRefusedError, match="commands nothing in this mode"):
        await desk.ask("restore", miners=[])
    assert desk.restored == []


async def test_a_slow_miner_keeps_nobody_waiting_and_is_told_when_it_is_done(desk: Desk) -> None:
    desk.see([True] * 4)
    desk.crew.loads[3].perform_s = 4.0
    answer = await desk.ask("restore", miners=[])
    assert answer["under_way"] == ["m3"]
    assert len(answer["outcomes"]) == 3
    await asyncio.sleep(2)
    assert [(event.miner, event.level) for event in desk.events][-1] == ("m3", EventLevel.INFO)


async def test_a_miner_that_did_not_take_its_profile_is_told_as_a_warning(desk: Desk) -> None:
    desk.see([True] * 4)
    desk.crew.loads[0].perform_s = 2.0
    desk.crew.submit(command(1))
    await let_run()
    asking = asyncio.create_task(desk.ask("restore", miners=["m0"]))
    await let_run()
    desk.crew.submit(command(2))
    answer = await asking
    assert answer["outcomes"][0]["outcome"] == Outcome.WITHHELD
    assert [(event.name, event.level) for event in desk.events] == [("miner_restored", EventLevel.WARNING)]
