"""Safe mode in virtual time: what it does with miners that obey, lie, hang, belong to others, or wake a bug."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controller.config import load_site
from controller.core.state import State
from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, Fleet, MinerReading
from controller.domain.journalling import RowKind
from controller.domain.plan import Event
from controller.domain.policy import Policy
from controller.runtime.safe_mode import SafeMode
from drivers.catalog import known_models
from tests.runtime.fakes import FakeJournal, FakeLoad, now

pytestmark = pytest.mark.virtual_time
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "site-demo.toml"
FALLBACK_W, RAMP_W_PER_MIN, OFFSET_S = 60_000, 240_000.0, 20.0
DRAW_W = 3500.0


class SleepyLoad(FakeLoad):
    """A miner that sleeps when told, unless it lies or refuses; `prior` None: it never says what it ran."""

    def __init__(self, miner: int, *, obeys: bool = True, condition: Condition = Condition.HASHING) -> None:
        super().__init__(miner)
        self.obeys = obeys
        self.condition = condition
        self.prior: str | None = "default"
        self.first_power_w = DRAW_W
        self.contradicts_until = 0.0
        self.breaks = False

    async def read(self) -> MinerReading:
        reading = await super().read()
        if self.breaks:
            raise ZeroDivisionError("a bug")
        condition = Condition.CONTRADICTS if now() < self.contradicts_until else self.condition
        power_w = (DRAW_W if len(self.reads) > 1 else self.first_power_w) if condition is Condition.HASHING else None
        return replace(reading, condition=condition, power_w=power_w, hashrate_th=None, prior=self.prior)

    async def perform(self, command: Command) -> CommandReport:
        report = await super().perform(command)
        if self.obeys:
            self.condition = Condition.ASLEEP
            return report
        return replace(report, outcome=Outcome.ACKNOWLEDGED)


class Site:
    """Safe mode at work on fake miners."""

    def __init__(self, journal: FakeJournal | None = None) -> None:
        config = load_site(EXAMPLE, known_models(), {})
        self.facts: Fleet = config.fleet()
        policy = config.policy()
        self.policy: Policy = replace(
            policy,
            fallback_w=FALLBACK_W,
            ramp=replace(policy.ramp, fallback_w_per_min=RAMP_W_PER_MIN),
            inputs=replace(policy.inputs, fallback_offset_s=OFFSET_S),
        )
        self.loads = [SleepyLoad(miner) for miner in range(len(self.facts))]
        self.state = State.fresh(self.facts, 0.0)
        self.journal = journal or FakeJournal()
        self.seen: list[tuple[float, float, float]] = []
        self.events: list[Event] = []

    @property
    def power_w(self) -> float:
        """What the miners really draw."""
        asleep = np.array([load.condition is Condition.ASLEEP for load in self.loads])
        return self.policy.auxiliary_w + float(np.where(asleep, self.facts.sleep_power_w, DRAW_W).sum())

    def told(self, miner: int) -> list[float]:
        return [at for at, _ in self.loads[miner].performed]

    async def run(self, for_s: float, look: Callable[[], None] = lambda: None) -> None:
        safe_mode = SafeMode(
            self.facts,
            self.policy,
            self.state,
            loads=self.loads,
            journal=self.journal,
            watch=lambda power_w, aim_w: self.seen.append((now(), power_w, aim_w)),
            tell=self.events.append,
        )
        working = asyncio.create_task(safe_mode.run())
        try:
            for _ in range(int(for_s)):
                await asyncio.sleep(1.0)
                look()
                assert not working.done()
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
        assert all(load.closed for load in self.loads if not load.breaks)


async def test_the_load_falls_along_the_ramp_after_this_sites_own_offset_and_nobody_is_told_twice() -> None:
    site = Site()
    full_w = site.power_w
    powers: list[tuple[float, float]] = []
    await site.run(180, lambda: powers.append((now(), site.power_w)))
    waited = [power for at, power in powers if at < OFFSET_S]
    assert set(waited) == {full_w}, "moved before its offset"
    for at, power_w in powers:
        allowed_w = max(full_w - RAMP_W_PER_MIN * max(at - OFFSET_S, 0.0) / 60.0, FALLBACK_W)
        assert power_w > allowed_w - 2 * DRAW_W, f"off a cliff at {at}"
        assert at < 2 * OFFSET_S or power_w < allowed_w + 5 * DRAW_W, f"slower than the ramp at {at}"
    assert FALLBACK_W - DRAW_W < powers[-1][1] <= FALLBACK_W
    assert max(len(site.told(miner)) for miner in range(len(site.loads))) == 1
    worst_first = [miner for miner in np.argsort(-site.facts.joule_per_th).tolist() if site.told(miner)]
    hashing = [load.miner for load in site.loads if load.condition is Condition.HASHING]
    assert site.facts.joule_per_th[worst_first].min() >= site.facts.joule_per_th[hashing].max()
    gaps = np.diff([at for at, _, _ in site.seen])
    assert gaps.max() <= 1.5, "the watchdog hears of every tick"


async def test_liars_are_made_up_for_by_others_and_asked_again_when_nobody_else_is_left() -> None:
    site = Site()
    worst = np.argsort(-site.facts.joule_per_th).tolist()[:5]
    for miner in worst:
        site.loads[miner].obeys = False
    await site.run(180)
    assert site.power_w <= FALLBACK_W
    site = Site()
    for load in site.loads[10:]:
        load.obeys = False
    await site.run(180)
    for load in site.loads[10:]:
        (first_at, first), (again_at, again) = load.performed[:2]
        assert (first.urgent, again.urgent) == (False, True), "the second time no budget withholds it"
        assert again_at - first_at >= 30.0


async def test_who_is_not_ours_to_move_is_left_alone_and_counts_as_drawing() -> None:
    site = Site()
    given_back, stranger, silent, secret = 0, 1, 2, 3
    site.state.fleet.parked[given_back] = True
    site.state.priors[given_back] = "default"
    site.loads[stranger].condition = Condition.CONTRADICTS
    site.loads[silent].condition, site.loads[silent].prior = Condition.UNREACHABLE, None
    site.loads[secret].prior = None
    await site.run(180)
    assert [site.told(miner) for miner in (given_back, stranger, silent, secret)] == [[]] * 4
    assert site.power_w <= FALLBACK_W + 1000.0, "who was never read counts at its cap level"


async def test_every_prior_mode_and_command_is_journalled_before_it_goes_out() -> None:
    site = Site()
    await site.run(180)
    priors = {json.loads(row.body)["miner"]: at for at, row in site.journal.rows if row.kind is RowKind.PRIOR}
    told = {
        command[1]: (at, command)
        for at, row in site.journal.rows
        if row.kind is RowKind.COMMAND
        for command in json.loads(row.body)["commands"]
    }
    assert told
    for miner, (at, command) in told.items():
        assert priors[site.facts.miner_ids[miner]] <= at <= site.told(miner)[0]
        assert Verb(command[2]) is Verb.SLEEP
    numbers = [command[0] for _, command in told.values()]
    assert len(set(numbers)) == len(numbers)
    assert len(site.journal.times_of(RowKind.OUTCOME)) == len(told)


class BrokenJournal(FakeJournal):
    """The writer ended by a bug."""

    def append(self, rows: object) -> object:
        raise RuntimeError("the journal's writer ended by a bug")


@pytest.mark.parametrize("journal", [lambda: FakeJournal(fate=False), lambda: FakeJournal(fate=None), BrokenJournal])
async def test_a_journal_that_takes_nothing_keeps_no_load_up(journal: Callable[[], FakeJournal]) -> None:
    site = Site(journal())
    await site.run(180)
    assert site.power_w <= FALLBACK_W


async def test_a_bug_in_one_miner_costs_that_miner_and_is_named() -> None:
    site = Site()
    site.loads[7].breaks = True
    await site.run(180)
    (event,) = site.events
    assert (event.name, event.miner) == ("safe_mode_miner_lost", site.facts.miner_ids[7])
    assert "ZeroDivisionError" in event.text
    assert site.power_w <= FALLBACK_W + 1000.0, "it counts as drawing, at its cap level"


async def test_miners_that_hang_keep_the_others_from_nothing() -> None:
    """Half of the fleet takes the whole deadline of every read."""
    site = Site()
    for load in site.loads[::2]:
        load.read_s, load.condition, load.prior = 3.0, Condition.UNREACHABLE, None
    await site.run(180)
    asleep = [load.miner for load in site.loads if load.condition is Condition.ASLEEP]
    assert set(asleep) == {load.miner for load in site.loads[1::2]}, "all that could be moved sleep"


async def test_before_a_read_everybody_draws_whoever_slept_by_the_checkpoint() -> None:
    site = Site()
    for load in site.loads:
        load.read_s = None
    site.state.fleet.ours_asleep[:] = True
    site.state.fleet.from_w[:] = site.facts.sleep_power_w
    site.state.fleet.from_w[0] = 2000.0
    await site.run(10)
    cap_w = site.facts.level_power_w[np.arange(len(site.facts)), site.facts.cap_level]
    assert site.seen[0][1] == pytest.approx(site.policy.auxiliary_w + 2000.0 + float(cap_w[1:].sum()))


async def test_watts_that_cannot_be_true_hold_no_load_up() -> None:
    site = Site()
    site.loads[5].first_power_w = 4294967295.0
    await site.run(180)
    assert site.power_w <= FALLBACK_W


async def test_a_first_reading_that_was_wrong_but_possible_does_not_hold_the_load_up_either() -> None:
    site = Site()
    for load in site.loads:
        load.first_power_w = 6500.0
    await site.run(180)
    assert site.power_w <= FALLBACK_W


async def test_a_miner_that_contradicts_once_is_asked_when_it_fits_again() -> None:
    site = Site()
    for load in site.loads:
        site.state.priors[load.miner] = "default"
        load.contradicts_until = 15.0
    await site.run(180)
    assert site.power_w <= FALLBACK_W


async def test_who_never_obeys_is_asked_less_and_less_often() -> None:
    """A sleep writes to the flash of some firmware, and safe mode may last a night."""
    site = Site()
    for load in site.loads:
        load.obeys = False
    await site.run(700)
    for load in site.loads:
        gaps = np.diff([at for at, _ in load.performed])
        assert np.all(gaps >= [30.0, 60.0, 120.0, 240.0][: len(gaps)]) and len(gaps) >= 3
        assert [command.urgent for _, command in load.performed][:4] == [False, True, True, False]
