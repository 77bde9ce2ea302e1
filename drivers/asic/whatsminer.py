"""WhatsMiners with API V2: sleep and wake by `power_off` and `power_on`, trim by `set_power_pct`, all encrypted.

Nothing here restarts a miner but a wake, and nothing writes its flash: `adjust_power_limit` (a reboot), the power modes
and the pools are never touched, and a write API that is closed is never opened. Outcomes speak about the one request
that changes the load: UNREACHABLE, REFUSED and WITHHELD mean that it did not happen, UNKNOWN that it left and nobody
can say. A percentage cannot be read back, so a trim that the miner accepted is ACKNOWLEDGED, never APPLIED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, Level, MinerReading
from drivers.asic.budget import Budget
from drivers.asic.identity import IdentityCheck, Told, told_by_devdetails
from drivers.asic.profiles import LadderUnreadableError, ModelFacts, lowers
from drivers.asic.rpc import Reply, ReplyKind, RpcWire
from drivers.asic.whatsminer_percent import FULL, Percent
from drivers.asic.whatsminer_reading import (
    STALE_S,
    Figures,
    condition_of,
    draws,
    figures_of,
    hashes,
    off_claim,
    version_told,
)
from drivers.asic.whatsminer_token import Tokens
from drivers.asic.whatsminer_writes import Done, Writer

_DEFAULT_PASSWORD: Final = "admin"  # noqa: S105  # the maker's, as pyasic has it; writes are refused until it is changed
_SLEEP: Final = {"cmd": "power_off", "respbefore": "true"}
_WAKE: Final = {"cmd": "power_on"}
_NOT_ASKED: Final = Reply(ReplyKind.NOT_SENT)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at a miner."""

    condition: Condition
    figures: Figures
    detail: str = ""


class WhatsMinerV2:
    """A Load. One call at a time; holds no connection between calls, and a token that each read keeps warm.

    deadline_s bounds a read, the token it may bring along included, and a command, its read-back included.
    """

    def __init__(
        self,
        *,
        miner_id: str,
        index: int,
        facts: ModelFacts,
        host: str,
        port: int,
        password: str | None,
        deadline_s: float,
        budget: Budget,
        ladder: tuple[Level, ...] | None = None,
    ) -> None:
        """host: an IP address. budget: restarts of the mining process, one with every wake. ladder: in place of the
        one on file; its levels are named by their percentage. Raises ValueError for a host that is no address."""
        self.miner_id = miner_id
        self._index = index
        self._levels = ladder or facts.envelope.levels
        self._level_of = {level.name: rung for rung, level in enumerate(self._levels)}
        self._deadline_s = deadline_s
        self._budget = budget
        self._wire = RpcWire(host=host, port=port)
        tokens = Tokens(password if password is not None else _DEFAULT_PASSWORD, index)
        self._writer = Writer(host=host, port=port, wire=self._wire, tokens=tokens)
        self._identity = IdentityCheck(facts)
        self._model = Told()
        self._percent = Percent(self._levels)
        self._prior: str | None = None
        self._condition = Condition.UNKNOWN
        self._power_w: float | None = None
        self._off_at: float | None = None

    async def read(self) -> MinerReading:
        """Telemetry: one round trip for a miner that plainly hashes, two otherwise. Raises only on cancellation.

        Now and then, when the figures are in, it brings more along: who the miner is, and a new token.
        """
        started_at = self._now()
        give_up_at = started_at + self._deadline_s
        if self._identity.sentence:
            parked = self._parked(await self._ask_who(give_up_at), started_at)
            if parked is not None:
                return parked
        self._budget.spent(started_at)  # what earlier runs of the daemon spent is a day old a day from now
        seen = await self._look(give_up_at)
        if seen.condition is Condition.UNREACHABLE:
            self._lost()
            return self._reading(seen, started_at)
        # A stopped miner cannot tell its model, and one that answers as asleep is a WhatsMiner.
        if seen.condition is not Condition.ASLEEP and self._identity.due(self._now()):
            parked = self._parked(await self._ask_who(give_up_at), started_at)
            if parked is not None:
                return parked
        reading = self._reading(seen, started_at)  # not before it is known to be ours: its percentage is remembered
        await self._writer.renew(give_up_at)
        return reading

    async def perform(self, command: Command) -> CommandReport:
        """Send one command and report what was learned; never raises except on cancellation."""
        give_up_at = self._now() + self._deadline_s
        if command.raises and self._identity.due(self._now()):
            await self._ask_who(give_up_at)
        if self._identity.sentence:
            return self._report(command.command_id, Done(Outcome.WITHHELD, self._identity.sentence))
        match command.verb:
            case Verb.SLEEP if command.escalated:
                return await self._sleep_or_lowest(command, give_up_at)
            case Verb.SLEEP:
                done = await self._sleep(command.urgent, give_up_at)
            case Verb.WAKE:
                return await self._wake(command, give_up_at)
            case Verb.TRIM if command.level is None or not 0 <= command.level < len(self._levels):
                done = Done(Outcome.UNSUPPORTED, f"no level {command.level} on a ladder of {len(self._levels)}")
            case Verb.TRIM:
                done = await self._trim(self._levels[command.level].name, command.urgent, give_up_at)
        return self._report(command.command_id, done)

    async def restore(self, prior: str) -> CommandReport:
        """Set exactly the percentage `prior`, on our ladder or not. Wakes nobody: a miner wakes at 100 anyway."""
        give_up_at = self._now() + self._deadline_s
        if not (prior.isascii() and prior.isdigit() and 1 <= int(prior) <= 100):
            done = Done(Outcome.UNSUPPORTED, f"{prior!r} is no percentage from 1 to 100")
        elif self._identity.sentence:
            done = Done(Outcome.WITHHELD, self._identity.sentence)
        elif (await self._look(give_up_at)).condition is not Condition.ASLEEP:
            done = await self._trim(prior, False, give_up_at)
            if done.outcome is Outcome.ACKNOWLEDGED:
                self._prior = None  # given back: what it runs from now on is its owner's again
        elif prior == FULL:
            done = Done(Outcome.APPLIED, "asleep, and wakes at 100 percent")
        else:
            done = Done(Outcome.WITHHELD, "asleep: a percentage does not outlast a wake, restore it afterwards")
        return self._report(RESTORE_COMMAND_ID, done)

    async def read_ladder(self) -> tuple[Level, ...]:
        """The ladder on file: the firmware takes any percentage, so all there is to ask is whether the model is ours.

        Raises LadderUnreadableError when it is another one, or does not answer.
        """
        reply = await self._ask_who(self._now() + self._deadline_s)
        if self._identity.sentence or not reply.ok:
            raise LadderUnreadableError(f"{self.miner_id}: {self._identity.sentence or f'get_version: {reply.detail}'}")
        return self._levels

    async def close(self) -> None:
        """Nothing is held: a token ends by itself."""

    async def _look(self, give_up_at: float) -> _Seen:
        """`summary`, and `status` where it does not prove enough alone."""
        asked_at = self._now()
        lowest = self._levels[0]
        summary = await self._ask("summary", give_up_at)
        figures = figures_of(summary)
        plain = hashes(figures, lowest) and draws(figures, lowest) is True
        off_lately = self._off_at is not None and asked_at - self._off_at < STALE_S
        status = _NOT_ASKED
        if (summary.ok or summary.kind is ReplyKind.REJECTED) and (not plain or off_lately):
            status = await self._ask("status", give_up_at)
        condition, detail = condition_of(summary, figures, status, lowest, off_lately=off_lately)
        if figures.uptime_s is not None:
            self._writer.running_since(asked_at - figures.uptime_s - 1.0)
        self._condition = condition
        self._power_w = figures.power_w
        return _Seen(condition, figures, detail)

    def _reading(self, seen: _Seen, started_at: float) -> MinerReading:
        """A look as the core takes it, with the percentage it shows and the one to be given back."""
        running = None
        if seen.condition is Condition.ASLEEP:
            running = self._percent.asleep(started_at)
        elif seen.condition is Condition.HASHING:
            running = self._percent.hashing(seen.figures, started_at)
        return MinerReading(
            miner=self._index,
            condition=seen.condition,
            power_w=seen.figures.power_w,
            hashrate_th=seen.figures.hashrate_th,
            level=None if running is None else self._level_of.get(running),
            started_at=started_at,
            finished_at=self._now(),
            prior=None if seen.condition is Condition.CONTRADICTS else self._prior or running,
            detail=seen.detail,
        )

    def _remember_prior(self) -> None:
        """What it runs is still its owner's, before our first write; from then on it is ours until it is given back."""
        if self._prior is None:
            self._prior = self._percent.best_guess()

    async def _sleep(self, urgent: bool, give_up_at: float) -> Done:
        self._remember_prior()
        done = await self._write(_SLEEP, urgent, give_up_at)
        if done.outcome in (Outcome.ACKNOWLEDGED, Outcome.UNKNOWN):
            self._off_at = done.sent_at
        return done if urgent else await self._read_back(done, True, give_up_at)

    async def _sleep_or_lowest(self, command: Command, give_up_at: float) -> CommandReport:
        """The lowest percentage first, where that surely lowers, then off; ROUNDED when off is turned away again."""
        lowest, lowered = self._levels[0], False
        if lowers(self._power_w, lowest):
            trim = await self._trim(lowest.name, True, min(give_up_at, self._now() + self._deadline_s / 2))
            lowered = trim.outcome is Outcome.ACKNOWLEDGED
        done = await self._sleep(command.urgent, give_up_at)
        if not lowered or done.outcome not in (Outcome.REFUSED, Outcome.UNSUPPORTED):
            return self._report(command.command_id, done)
        done = replace(done, outcome=Outcome.ROUNDED, detail=f"{lowest.name} percent instead; power_off: {done.detail}")
        return replace(self._report(command.command_id, done), rounded_to_level=0)

    async def _wake(self, command: Command, give_up_at: float) -> CommandReport:
        """A wake starts the mining process anew, which counts against the day's budget; a sleep does not."""
        now = self._now()
        # A sleep needs no room here, so neither does a wake for the sleep that follows it.
        refusal = self._budget.refusal(raises=False, urgent=False, now=now)
        if refusal is not None:
            return self._report(command.command_id, Done(Outcome.WITHHELD, refusal.reason, again_at=refusal.again_at))
        done = await self._write(_WAKE, command.urgent, give_up_at)
        wear = 0
        if done.outcome in (Outcome.ACKNOWLEDGED, Outcome.UNKNOWN):
            self._off_at = None
            self._percent.set(FULL, now)
            self._budget.spend(now)
            wear = 1
        if not command.urgent:
            done = await self._read_back(done, False, give_up_at)
        return replace(self._report(command.command_id, done), wear=wear)

    async def _trim(self, percent: str, urgent: bool, give_up_at: float) -> Done:
        self._remember_prior()
        done = await self._write({"cmd": "set_power_pct", "percent": percent}, urgent, give_up_at)
        if done.sent_at is not None and done.outcome in (Outcome.ACKNOWLEDGED, Outcome.UNKNOWN):
            self._percent.set(percent if done.outcome is Outcome.ACKNOWLEDGED else None, done.sent_at)
        return done

    async def _write(self, command: Mapping[str, str], urgent: bool, give_up_at: float) -> Done:
        return await self._writer.send(command, urgent=urgent, give_up_at=give_up_at)

    async def _read_back(self, done: Done, off: bool, give_up_at: float) -> Done:
        """One look at `status`: agrees -> APPLIED. The miner answers before it acts, so disagreement proves nothing."""
        if done.outcome is not Outcome.ACKNOWLEDGED:
            return done
        status = await self._ask("status", give_up_at)
        claim = off_claim(status)
        if claim is off:
            return replace(done, outcome=Outcome.APPLIED)
        why = f"not read back: {status.detail}" if claim is None else f"read back as {'off' if claim else 'on'}"
        return replace(done, detail=f"{done.detail}; {why}")

    def _parked(self, reply: Reply, started_at: float) -> MinerReading | None:
        """The reading of another machine, of which nothing is about the inventory's; None while none says it is one."""
        if not self._identity.sentence:
            return None
        if reply.kind in (ReplyKind.NOT_SENT, ReplyKind.NO_ANSWER):
            self._lost()
            return self._reading(_Seen(Condition.UNREACHABLE, Figures(), reply.detail), started_at)
        return self._reading(_Seen(Condition.CONTRADICTS, Figures(), self._identity.sentence), started_at)

    def _lost(self) -> None:
        """Out of reach: whatever answers next may be another machine."""
        self._identity.lost()
        self._model = Told()

    async def _ask_who(self, give_up_at: float) -> Reply:
        """Ask who answers there; the answer to `get_version`."""
        reply = await self._ask("get_version", give_up_at)
        told = version_told(reply)
        if self._condition is not Condition.ASLEEP:
            model = told_by_devdetails((await self._ask("devdetails", give_up_at)).body)
            self._model = model if model.model else self._model
        # The model as last heard: an answer without one, as of a stopped miner, takes nothing back.
        words = ", ".join(text for text in (told.words, self._model.words) if text)
        self._identity.heard(Told(told.firmware or self._model.firmware, self._model.model, words), self._now())
        return reply

    async def _ask(self, command: str, give_up_at: float) -> Reply:
        return await self._wire.send(command, deadline_s=give_up_at - self._now())

    def _report(self, command_id: int, done: Done) -> CommandReport:
        return CommandReport(
            command_id=command_id,
            miner=self._index,
            outcome=done.outcome,
            sent_at=done.sent_at,
            answered_at=self._now(),
            detail=done.detail,
            again_at=done.again_at,
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
