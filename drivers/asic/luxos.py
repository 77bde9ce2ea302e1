"""LuxOS miners: sleep and wake by `curtail`, trim by `profileset`, telemetry in one round trip.

Outcomes speak about the one command that changes the load (`curtail`, `profileset`): UNREACHABLE and REFUSED mean that
it did not happen, UNKNOWN that it left and nobody can say. What surrounds it (logging on, the thermal control) shows in
the outcome only when it kept that command from being sent. See docs/firmware.md for the whole table.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, Level, MinerReading
from drivers.asic.identity import IdentityCheck, told_by_version
from drivers.asic.luxos_outcome import CODE_INVALID_COMMAND, Done, after, compare, session_unknown
from drivers.asic.luxos_reading import READ_COMMAND, claims_sleep, observe, profile_of
from drivers.asic.luxos_session import LuxosSession, NotOpened, Opened, said
from drivers.asic.profiles import LadderUnreadableError, ModelFacts, lowers
from drivers.asic.rpc import Reply, ReplyKind, RpcWire, words_of

_ATM_KNOWN_S: Final = 30.0
"""An urgent trim trusts the thermal control's state from a read no older than this, and saves the question."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One change to make. `profile` None means curtail, to sleep or awake; `may_borrow` see luxos_session; `first`: a
    profile to be set before."""

    profile: str | None
    sleep: bool
    may_borrow: bool
    urgent: bool
    give_up_at: float
    first: str | None = None


class LuxosMiner:
    """A Load. One call at a time; holds no connection between calls, and a session only after an urgent command.

    deadline_s bounds a read, and a command up to its effect; what tidies up after a command (thermal control back on,
    logging off) gets the same again.
    """

    def __init__(
        self,
        *,
        miner_id: str,
        index: int,
        facts: ModelFacts,
        host: str,
        port: int,
        deadline_s: float,
        ladder: tuple[Level, ...] | None = None,
    ) -> None:
        """host: an IP address. ladder: in place of the levels on file, lowest power first. Raises ValueError for a
        host that is no address."""
        levels = ladder or facts.envelope.levels
        self.miner_id = miner_id
        self._index = index
        self._wire = RpcWire(host=host, port=port)
        self._levels = levels
        self._level_of = {level.name: rung for rung, level in enumerate(levels)}
        self._deadline_s = deadline_s
        self._session = LuxosSession(self._wire)
        self._identity = IdentityCheck(facts)
        self._power_w: float | None = None
        self._atm_seen: tuple[bool, float] | None = None
        self._atm_owed = False

    async def read(self) -> MinerReading:
        """Telemetry in one round trip, and one more when the miner is to be asked who it is; never raises except on
        cancellation."""
        started_at = self._now()
        reply = await self._wire.send(READ_COMMAND, deadline_s=self._deadline_s)
        seen = observe(reply, self._levels)
        if seen.condition is Condition.UNREACHABLE:
            self._identity.lost()
        else:
            await self._identify(started_at + self._deadline_s)
        self._power_w = seen.power_w
        if seen.atm_on is not None:
            self._atm_seen = (seen.atm_on, started_at)
        reading = MinerReading(
            miner=self._index,
            condition=seen.condition,
            power_w=seen.power_w,
            hashrate_th=seen.hashrate_th,
            level=None if seen.profile is None else self._level_of.get(seen.profile),
            started_at=started_at,
            finished_at=self._now(),
            prior=seen.profile,
            detail=seen.detail,
        )
        if self._identity.sentence and seen.condition is not Condition.UNREACHABLE:
            # Its watts are somebody's all the same; its profile is nothing to steer by or to give back.
            other = self._identity.sentence
            return replace(reading, condition=Condition.CONTRADICTS, level=None, prior=None, detail=other)
        return reading

    async def perform(self, command: Command) -> CommandReport:
        """Send one command and report what was learned; never raises except on cancellation."""
        profile = None
        if command.verb is Verb.TRIM:
            if command.level is None or not 0 <= command.level < len(self._levels):
                done = Done(Outcome.UNSUPPORTED, f"no level {command.level} on a ladder of {len(self._levels)}")
                return self._report(command.command_id, done)
            profile = self._levels[command.level].name
        order = _Order(
            profile=profile,
            sleep=command.verb is Verb.SLEEP,
            may_borrow=not command.raises,
            urgent=command.urgent,
            give_up_at=self._now() + self._deadline_s,
            first=self._levels[0].name if command.escalated and lowers(self._power_w, self._levels[0]) else None,
        )
        if command.raises:
            await self._identify(order.give_up_at)
        if self._identity.sentence:
            return self._report(command.command_id, Done(Outcome.WITHHELD, self._identity.sentence))
        return self._report(command.command_id, await self._carry_out(order))

    async def restore(self, prior: str) -> CommandReport:
        """Set exactly the profile called `prior`, on our ladder or not; sends nothing when it is running already."""
        await self._identify(self._now() + self._deadline_s)
        if self._identity.sentence:
            return self._report(RESTORE_COMMAND_ID, Done(Outcome.WITHHELD, self._identity.sentence))
        reply = await self._wire.send("config", deadline_s=self._deadline_s)
        if reply.ok and profile_of(reply.first("CONFIG")) == prior and not self._atm_owed:
            return self._report(RESTORE_COMMAND_ID, Done(Outcome.APPLIED, "already running"))
        give_up_at = self._now() + self._deadline_s
        order = _Order(profile=prior, sleep=False, may_borrow=False, urgent=False, give_up_at=give_up_at)
        return self._report(RESTORE_COMMAND_ID, await self._carry_out(order))

    async def read_ladder(self) -> tuple[Level, ...]:
        """The profiles the miner itself offers, lowest power first. Raises LadderUnreadableError."""
        await self._identify(self._now() + self._deadline_s)
        if self._identity.sentence:
            raise LadderUnreadableError(f"{self.miner_id}: {self._identity.sentence}")
        reply = await self._wire.send("profiles", deadline_s=self._deadline_s)
        if not reply.ok:
            raise LadderUnreadableError(f"{self.miner_id}: profiles: {said(reply)}")
        try:
            levels = [
                Level(str(row["Profile Name"]), int(row["Watts"]), float(row["Hashrate"]))
                for row in reply.body["PROFILES"]
            ]
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            why = words_of(repr(error))
            raise LadderUnreadableError(f"{self.miner_id}: profiles in an unknown shape: {why}") from error
        if not levels:
            raise LadderUnreadableError(f"{self.miner_id}: offers no profile")
        return tuple(sorted(levels, key=lambda level: level.power_w))

    async def close(self) -> None:
        """Give the thermal control back if we still owe it; a session we kept ends by itself."""
        if self._atm_owed and not self._identity.sentence:
            opened = await self._session.open(may_borrow=True, reuse=True, give_up_at=self._now() + self._deadline_s)
            if isinstance(opened, Opened):
                await self._settle_atm(opened)
                await self._session.drop(opened, self._now() + self._deadline_s)

    async def _identify(self, give_up_at: float) -> None:
        """Ask the miner who it is, when that is due; never before a command that lowers the load."""
        if self._identity.due(self._now()):
            reply = await self._wire.send("version", deadline_s=give_up_at - self._now())
            self._identity.heard(told_by_version(reply.body), self._now())

    async def _carry_out(self, order: _Order) -> Done:
        """Open a session, write, tidy up; read back and log off unless urgent."""
        opened = await self._session.open(may_borrow=order.may_borrow, reuse=order.urgent, give_up_at=order.give_up_at)
        if isinstance(opened, NotOpened):
            return Done(opened.outcome, opened.detail)
        lowered, opened = await self._lower_first(opened, order)
        done, opened = await self._write(opened, order)
        if lowered is not None and done.outcome in (Outcome.REFUSED, Outcome.UNSUPPORTED):
            done = replace(lowered, outcome=Outcome.ROUNDED, detail=f"{lowered.detail}; curtail: {done.detail}")
        owed = await self._settle_atm(opened)
        if not order.urgent and done.outcome not in (Outcome.UNKNOWN, Outcome.UNREACHABLE):
            if done.outcome is Outcome.ACKNOWLEDGED:
                done = await self._read_back(done, order)
            await self._session.drop(opened, self._now() + self._deadline_s)
        return replace(done, detail=f"{done.detail}; {owed}") if owed else done

    async def _lower_first(self, opened: Opened, order: _Order) -> tuple[Done | None, Opened]:
        """The other verb of an escalated sleep, in half of the time; None unless the miner took it."""
        if order.first is None:
            return None, opened
        give_up_at = min(order.give_up_at, self._now() + self._deadline_s / 2)
        done, opened = await self._write(opened, replace(order, profile=order.first, give_up_at=give_up_at))
        if done.outcome not in (Outcome.ACKNOWLEDGED, Outcome.ROUNDED):
            return None, opened
        profile = done.profile or order.first
        return replace(done, profile=profile, detail=f"profile {profile!r} instead"), opened

    async def _write(self, opened: Opened, order: _Order) -> tuple[Done, Opened]:
        """The write itself, once more with a new session when the miner no longer knows this one."""
        done, reply = await self._write_once(opened, order)
        if session_unknown(reply):
            self._session.forget()
            renewed = await self._session.open(may_borrow=order.may_borrow, reuse=False, give_up_at=order.give_up_at)
            if isinstance(renewed, NotOpened):  # the miner has heard the write, and turned it away
                return replace(done, detail=f"{done.detail}; no new session: {renewed.detail}"), opened
            opened = renewed
            done, _ = await self._write_once(opened, order)
        self._session.used(opened)
        return done, opened

    async def _write_once(self, opened: Opened, order: _Order) -> tuple[Done, Reply]:
        """`curtail`, or the profile with the thermal control out of the way; `_settle_atm` puts that back."""
        if order.profile is None:
            reply, sent_at = await self._call("curtail", "sleep" if order.sleep else "wakeup", opened, order.give_up_at)
            return after(reply, sent_at), reply
        atm_on, reply = await self._ask_atm(order)
        if atm_on is None:
            return Done(Outcome.UNREACHABLE, f"atm: {said(reply) or 'state not told'}"), reply
        if atm_on:
            self._atm_owed = True  # before the request leaves: a lost answer leaves it off as well
            reply = await self._set_atm(opened, on=False, give_up_at=order.give_up_at)
            if not reply.ok:
                self._atm_owed = reply.may_have_acted
                refused = reply.kind is ReplyKind.REJECTED
                return Done(Outcome.REFUSED if refused else Outcome.UNREACHABLE, f"atmset: {said(reply)}"), reply
        reply, sent_at = await self._call("profileset", order.profile, opened, order.give_up_at)
        done = after(reply, sent_at)
        if done.outcome is Outcome.ACKNOWLEDGED:
            done = compare(done, order.profile, reply.first("PROFILE").get("Profile"))
        return done, reply

    async def _call(self, command: str, argument: str, opened: Opened, give_up_at: float) -> tuple[Reply, float]:
        """One write and the loop second it was sent."""
        sent_at = self._now()
        deadline_s = give_up_at - sent_at
        return await self._wire.send(command, argument, session=opened.token, deadline_s=deadline_s), sent_at

    async def _ask_atm(self, order: _Order) -> tuple[bool | None, Reply]:
        """Whether the firmware's thermal control is on; firmware without the command has none. None: not learned."""
        if self._atm_owed:
            return False, Reply(ReplyKind.ACCEPTED)
        if order.urgent and self._atm_seen is not None and self._now() - self._atm_seen[1] <= _ATM_KNOWN_S:
            return self._atm_seen[0], Reply(ReplyKind.ACCEPTED)
        reply = await self._wire.send("atm", deadline_s=order.give_up_at - self._now())
        if reply.code == CODE_INVALID_COMMAND:
            return False, reply
        enabled = reply.first("ATM").get("Enabled") if reply.ok else None
        return (enabled if isinstance(enabled, bool) else None), reply

    async def _set_atm(self, opened: Opened, *, on: bool, give_up_at: float) -> Reply:
        reply, _ = await self._call("atmset", f"enabled={str(on).lower()}", opened, give_up_at)
        return reply

    async def _settle_atm(self, opened: Opened) -> str:
        """Turn the thermal control back on if we turned it off; says so when that failed and is still owed."""
        if not self._atm_owed:
            return ""
        reply = await self._set_atm(opened, on=True, give_up_at=self._now() + self._deadline_s)
        self._atm_owed = not reply.ok
        return f"thermal control still off: {said(reply)}" if self._atm_owed else ""

    async def _read_back(self, done: Done, order: _Order) -> Done:
        """One look at the configuration: agrees -> APPLIED; anything else leaves what the miner itself said."""
        reply = await self._wire.send("config", deadline_s=order.give_up_at - self._now())
        config = reply.first("CONFIG") if reply.ok else {}
        if not config:
            return replace(done, detail=f"{done.detail}; not read back: {said(reply)}")
        if order.profile is not None:
            running = profile_of(config)
            return (
                replace(done, outcome=Outcome.APPLIED)
                if running == order.profile
                else compare(done, order.profile, running)
            )
        if claims_sleep(config) is order.sleep:
            return replace(done, outcome=Outcome.APPLIED)
        return replace(done, detail=f"{done.detail}; read back as {words_of(repr(config.get('CurtailMode')))}")

    def _report(self, command_id: int, done: Done) -> CommandReport:
        return CommandReport(
            command_id=command_id,
            miner=self._index,
            outcome=done.outcome,
            sent_at=done.sent_at,
            answered_at=self._now(),
            detail=done.detail,
            rounded_to_level=None if done.profile is None else self._level_of.get(done.profile),
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
