"""Antminers with their maker's firmware: sleep and wake by writing the work mode into the configuration.

Every such write costs flash and restarts the mining process, so that none is made which the miner does not need, a
budget per day bounds them, and there are no trims. The configuration is read, changed in its mode alone and written
back (`antminer_conf`); hash rates come from port 4028 (`antminer_reading`).

Two writers: nothing locks the configuration. What somebody writes between our read and our write, which follows within
milliseconds on the same connection, is overwritten by what we read. What somebody writes after it shows in the
read-back, which compares every key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, Level, MinerReading
from drivers.asic.antminer_conf import (
    SLEEP,
    ConfWrite,
    UnfitConfError,
    differences,
    has_pools,
    is_mode,
    mode_of,
    with_mode,
)
from drivers.asic.antminer_memory import Known, Order
from drivers.asic.antminer_reading import Judge, Judgement, number, rate_in_summary
from drivers.asic.antminer_web import CONF, SUMMARY, SYSTEM_INFO, AntminerWeb, Done, Page
from drivers.asic.budget import Budget
from drivers.asic.identity import IdentityCheck, Told, told_by_system_info, told_by_version
from drivers.asic.profiles import LadderUnreadableError, ModelFacts
from drivers.asic.rpc import Reply, ReplyKind, RpcWire

_URGENT_ANSWER_S: Final = 1.5
"""How long an urgent write's answer is waited for. Some firmware takes 21 s over it, and other miners wait for the
slot; the write goes on without us."""


class AntminerStock:
    """A Load. One call at a time; keeps a connection to the web interface for as long as the miner does.

    deadline_s bounds a read, and a command with its read-back.
    """

    def __init__(
        self,
        *,
        miner_id: str,
        index: int,
        host: str,
        port: int,
        web_port: int,
        facts: ModelFacts,
        deadline_s: float,
        budget: Budget,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        """username, password: `root` and `root` as shipped, unless given. Raises ValueError for a host that is no IP
        address and a user name that no header can carry."""
        self.miner_id = miner_id
        self._index = index
        self._rpc = RpcWire(host=host, port=port)
        self._web = AntminerWeb(host, web_port, username or "root", password or "root")
        self._levels = facts.envelope.levels
        self._judge = Judge(facts)
        self._settles_s = 2.0 * (facts.envelope.response.sleep_dead_s + facts.envelope.response.sleep_90_s)
        self._deadline_s = deadline_s
        self._budget = budget
        self._identity = IdentityCheck(facts)
        self._known = Known()
        self._prepared: tuple[Page, ConfWrite] | None = None
        self._listed = False

    async def read(self) -> MinerReading:
        """Telemetry: one round trip while it hashes, and the configured mode when the rate is gone, after a command
        and once a minute; never raises except on cancellation."""
        started_at = self._now()
        give_up_at = started_at + self._deadline_s
        known = self._known
        self._budget.spent(started_at)  # what earlier runs of the daemon spent is a day old a day from now
        # Half of the time is kept for the web: a miner whose port 4028 hangs can still prove that it sleeps.
        summary = await self._rpc.send("summary", deadline_s=self._deadline_s / 2)
        row = summary.first("SUMMARY") if summary.ok else {}
        rate_th, elapsed_s = rate_in_summary(row), number(row.get("Elapsed"))
        words = [] if rate_th is not None else [f"summary: {summary.detail or 'no hash rate in it'}"]
        mute = summary.kind in (ReplyKind.NOT_SENT, ReplyKind.NO_ANSWER)
        answered = not mute
        if known.conf_is_due(started_at, elapsed_s, hashes=self._judge.hashes(rate_th), mute=mute):
            page = await self._web.page(CONF, give_up_at)
            answered = answered or page.answered
            words += self._learn_mode(page, started_at)
            if mute and page.answered:
                told = await self._web.page(SUMMARY, give_up_at)
                rate_th = rate_in_summary(Reply(ReplyKind.ACCEPTED, told.document or {}).first("SUMMARY"))
        if answered:
            await self._identify(give_up_at, mute=mute)
        else:
            self._identity.lost()
        # A mining process that hangs says as little as one that is gone, and may hash: only a closed port is a sign.
        gone = summary.nobody_serves and rate_th is None
        known.note(started_at, hashes=self._judge.hashes(rate_th), mute=gone if answered else None)
        seen = known.seen(started_at, rate_th, "; ".join(words))
        judged = self._judge.judge(seen) if answered else Judgement(Condition.UNREACHABLE, detail="; ".join(words))
        known.rate_before_th = 0.0 if rate_th is None and answered else rate_th
        return self._reading(judged, rate_th, started_at)

    async def perform(self, command: Command) -> CommandReport:
        """Send one command and report what was learned; never raises except on cancellation."""
        if command.verb is Verb.TRIM:
            done = Done(Outcome.UNSUPPORTED, "a change of level restarts this miner: it is only put to sleep and woken")
            return self._report(command.command_id, done)
        wakes = command.verb is Verb.WAKE
        order = Order(wakes, self._now() + self._deadline_s, command.urgent, prior=command.prior)
        return self._report(command.command_id, await self._obey(order))

    async def restore(self, prior: str) -> CommandReport:
        """Set the work mode called `prior` if the miner is awake in another; wakes nobody."""
        order = Order(True, self._now() + self._deadline_s, urgent=False, prior=prior, restores=True)
        return self._report(RESTORE_COMMAND_ID, await self._obey(order))

    async def read_ladder(self) -> tuple[Level, ...]:
        """The ladder on file: the firmware tells none, so all there is to ask is whether the model is ours.

        Raises LadderUnreadableError when it is another one, or does not answer.
        """
        self._identity.lost()
        answered = await self._identify(self._now() + self._deadline_s, mute=False)
        if self._identity.sentence or not answered:
            raise LadderUnreadableError(f"{self.miner_id}: {self._identity.sentence or 'does not say who it is'}")
        return self._levels

    async def close(self) -> None:
        """Close the connection kept to the miner, and one whose write is still unanswered."""
        self._web.close()

    # --- commands ------------------------------------------------------------------------------------------------

    async def _obey(self, order: Order) -> Done:
        """From the order to its outcome: is it our miner, does it need a write, may it have one."""
        if order.raises:
            await self._identify(order.give_up_at, mute=False)
        if self._identity.sentence:
            return Done(Outcome.WITHHELD, self._identity.sentence)
        page = await self._web.page(CONF, order.give_up_at)
        self._known.forget_conf()
        if page.document is None:
            return Done(page.outcome, f"nothing written; {page.words}")
        mode = mode_of(page.document)
        if mode == SLEEP or order.raises:
            settled = await self._nothing_to_do(order, mode)
            if settled is not None:
                return settled
        target, note = order.target(self._known.awake_mode)
        try:
            write = self._write_for(page, target)
        except UnfitConfError as error:
            return Done(Outcome.REFUSED, f"nothing written; {error}")
        now = self._now()
        done = self._withheld(order, now) or await self._web.set_conf(write.body, self._answer_by(order, now))
        if not done.reached:
            return done
        since = self._known.changed_asleep(page.document) if order.raises else ""
        overdrawn = self._spend(target, mode, done.outcome, page.document)
        if not order.urgent and (order.raises or not self._known.wake_may_come(now)):
            done = await self._read_back(done, page.document, target, order.give_up_at)
        return done.with_notes(note, since, self._list(write), overdrawn)

    def _write_for(self, page: Page, target: str) -> ConfWrite:
        """What to write so that the mode becomes `target`; worked out once for one configuration."""
        if self._prepared is None or self._prepared[0] is not page or self._prepared[1].mode != target:
            write = with_mode(page.document, target)
            pools = has_pools(page.document or {})
            if self._known.had_pools and not pools:
                raise UnfitConfError("the pools that were there are gone from the configuration read")
            self._known.had_pools = pools
            self._prepared = page, write
        return self._prepared[1]

    def _list(self, write: ConfWrite) -> str:
        """What the first write of all carried and left out beside the documented keys, for whoever looks after them."""
        listed, self._listed = self._listed, True
        parts = (("carried as told", write.unknown), ("null, not sent", write.null))
        return "" if listed else "; ".join(f"{what}: {', '.join(keys)}" for what, keys in parts if keys)

    async def _nothing_to_do(self, order: Order, mode: str | None) -> Done | None:
        """The outcome of an order that needs no write; None when it needs one."""
        if order.restores and (order.prior == SLEEP or not is_mode(order.prior or "")):
            return Done(Outcome.UNSUPPORTED, f"{order.prior!r} is no work mode of a miner awake")
        if order.restores and mode == SLEEP:
            return Done(Outcome.WITHHELD, f"asleep, and a restore wakes nobody: woken, it runs in mode {order.prior}")
        if order.restores:
            return Done(Outcome.APPLIED, f"already in mode {mode}") if mode == order.prior else None
        if order.raises:
            awake = mode not in (SLEEP, None)
            return Done(Outcome.APPLIED, f"already awake, in mode {mode}; nothing written") if awake else None
        if self._known.wake_may_come(self._now()):
            return None
        if not await self._hashes_on(order.give_up_at):
            return Done(Outcome.APPLIED, "already configured to sleep; nothing written")
        # A write of the mode that is set already reloads the pools and no more: only a restart says it again.
        now = self._now()
        done = self._withheld(order, now) or await self._web.reboot(self._answer_by(order, now))
        if not done.reached:
            return done
        overdrawn = self._spend(SLEEP, SLEEP, done.outcome)
        return done.with_notes("configured to sleep, but it hashed: restarted", overdrawn)

    async def _hashes_on(self, give_up_at: float) -> bool:
        """Whether the miner shows a hash rate that a write of ours cannot be about to end."""
        if self._now() - self._known.written_at < self._settles_s:
            return False
        reply = await self._rpc.send("summary", deadline_s=give_up_at - self._now())
        return reply.ok and self._judge.hashes(rate_in_summary(reply.first("SUMMARY")))

    def _withheld(self, order: Order, now: float) -> Done | None:
        """Why the budget leaves no room for this order; None when it does."""
        refusal = self._budget.refusal(raises=order.raises, urgent=order.urgent, now=now)
        return None if refusal is None else Done(Outcome.WITHHELD, refusal.reason, again_at=refusal.again_at)

    @staticmethod
    def _answer_by(order: Order, now: float) -> float:
        """Until when an answer is waited for."""
        return min(order.give_up_at, now + _URGENT_ANSWER_S) if order.urgent else order.give_up_at

    def _spend(self, target: str, mode: str | None, outcome: Outcome, conf: Mapping[str, Any] | None = None) -> str:
        """The miner has perhaps been given the mode `target`, over the mode `mode`; what to say of the budget."""
        now = self._now()
        self._budget.spend(now)
        self._known.written(now, target, mode, outcome, conf)
        return self._budget.overdrawn(now)

    async def _read_back(self, done: Done, before: Mapping[str, Any], target: str, give_up_at: float) -> Done:
        """One look at the configuration: all as it was but the mode -> APPLIED, whatever the answer to the write."""
        page = await self._web.page(CONF, give_up_at)
        if page.document is None:
            return done._replace(detail=f"{done.detail}; not read back: {page.words}")
        mode, others = mode_of(page.document), differences(before, page.document)
        if mode != target:
            done = done._replace(detail=f"{done.detail}; read back in mode {mode}")
        elif not others:
            return done._replace(outcome=Outcome.APPLIED)
        if others:
            done = done._replace(detail=f"{done.detail}; changed beside the mode: {', '.join(others)}")
        return done

    # --- telemetry -----------------------------------------------------------------------------------------------

    def _learn_mode(self, page: Page, asked_at: float) -> list[str]:
        """Take up the configured mode; what failed, in words."""
        mode = None if page.document is None else mode_of(page.document)
        self._known.learn_mode(mode, asked_at)
        if mode is None:
            return [page.words or f"{CONF}: no work mode in it"]
        if mode != SLEEP:
            with suppress(UnfitConfError):
                self._write_for(page, SLEEP)  # a shed finds it ready
        return []

    async def _identify(self, give_up_at: float, *, mute: bool) -> bool:
        """Ask the miner who it is when that is due: port 4028, and the web interface when that says nothing."""
        if not self._identity.due(self._now()):
            return True
        told = Told()
        if not mute:
            # Half of the time is kept for the web, and for the command that waits for this.
            reply = await self._rpc.send("version", deadline_s=(give_up_at - self._now()) / 2)
            told = told_by_version(reply.body)
        answered = told != Told()
        if not answered:
            page = await self._web.page(SYSTEM_INFO, give_up_at)
            answered, told = page.answered, told_by_system_info(page.document)
        if self._identity.heard(told, self._now()):
            self._known.forget_miner()
        return answered

    def _reading(self, judged: Judgement, rate_th: float | None, started_at: float) -> MinerReading:
        other = self._identity.sentence if judged.condition is not Condition.UNREACHABLE else ""
        mode = self._known.mode
        return MinerReading(
            miner=self._index,
            condition=Condition.CONTRADICTS if other else judged.condition,
            power_w=judged.power_w,
            hashrate_th=rate_th,
            level=None if other else judged.level,
            started_at=started_at,
            finished_at=self._now(),
            prior=None if other or mode == SLEEP else mode,
            detail=other or judged.detail,
            power_error_w=judged.power_error_w,
        )

    def _report(self, command_id: int, done: Done) -> CommandReport:
        return CommandReport(
            command_id=command_id,
            miner=self._index,
            outcome=done.outcome,
            sent_at=done.sent_at,
            answered_at=self._now(),
            detail=done.detail,
            again_at=done.again_at,
            wear=int(done.reached),
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
