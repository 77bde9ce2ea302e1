"""What people may ask of the daemon over its console: look, lower the site for a while, and let miners go or take them.

Nothing here decides. Orders go into the mailbox and are judged by the next cycle like everything else that comes in; a
restore is handed to the miner's own worker after its miner was taken out of the core's hands.
"""

from __future__ import annotations

import asyncio
import math
import pwd
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from controller.core.state import State
from controller.domain.command import CommandReport, Outcome
from controller.domain.dispatch import DispatchKind
from controller.domain.fleet import Condition, Fleet
from controller.domain.plan import Decision, Event, EventLevel, InputState, OperatorOrder, OperatorVerb
from controller.domain.policy import Mode, Policy
from controller.ports import Journal
from controller.runtime.actuator import Actuator
from controller.runtime.console import ConsoleRefusedError, Handler, Peer
from controller.runtime.mailbox import Mailbox
from controller.runtime.views import Views
from controller.wire.canonical import kw_of, utc_text
from controller.wire.rows import event_row

WRITTEN_WITHIN_S = 1.0  # a restore may raise the load, and nothing is raised unrecorded
RESTORED_WITHIN_S = 3.0  # for the answer; restores that take longer go on and are told as events
SHOWS_WITHIN_S = 30.0  # by then the site meter shows what an earlier restore added
GIVEN_BACK = (Outcome.APPLIED, Outcome.ACKNOWLEDGED)

OPERATIONS = ("status", "explain", "cap", "release", "adopt", "restore", "unquarantine")

Request = Mapping[str, object]
Answer = Mapping[str, object]


@dataclass(slots=True)
class Operations:
    """The console's operations. `announce` logs, counts, journals and publishes an event."""

    facts: Fleet
    policy: Policy
    views: Views
    mailbox: Mailbox
    actuator: Actuator
    journal: Journal
    announce: Callable[[Event], None]
    _rise_w: float = 0.0
    """What restores may have added that the site meter does not show yet, until `_rise_until`."""
    _rise_until: float = -math.inf

    def handlers(self) -> dict[str, Handler]:
        """Operation name -> handler, as controller.runtime.console takes them."""
        return {name: getattr(self, f"_{name}") for name in OPERATIONS}

    async def _status(self, request: Request, peer: Peer) -> Answer:
        self._last()
        return self.views.status()

    async def _explain(self, request: Request, peer: Peer) -> Answer:
        self._last()
        try:
            return self.views.explain(str(request.get("miner", "")))
        except KeyError as error:
            raise ConsoleRefusedError(str(error.args[0])) from None

    async def _cap(self, request: Request, peer: Peer) -> Answer:
        power_w, for_s, longest_s = request.get("power_w"), request.get("for_s"), self.policy.dispatch.lifetime_max_s
        if not isinstance(power_w, int) or isinstance(power_w, bool) or power_w < 0:
            raise ConsoleRefusedError("power_w must be a whole number of watts, 0 or more")
        if not isinstance(for_s, int | float) or isinstance(for_s, bool) or not 0 < for_s <= longest_s:
            raise ConsoleRefusedError(f"for_s must say for how many seconds, at most {longest_s:g}")
        operator, expires_at = operator_name(peer), time.time() + for_s
        self._put(OperatorOrder(OperatorVerb.CAP, operator, power_w=power_w, expires_at=expires_at))
        known = self.views.decision
        return {
            "accepted": OperatorVerb.CAP.value,
            "kw": kw_of(power_w),
            "expires_at": utc_text(expires_at),
            "operator": operator,
            "floor_kw": None if known is None else kw_of(known.figures.floor_w),
        }

    async def _release(self, request: Request, peer: Peer) -> Answer:
        state, _ = self._last()
        ended = [cap for cap in state.operator_caps if cap.expires_at is not None]
        self._put(OperatorOrder(OperatorVerb.RELEASE, operator_name(peer)))
        return {"accepted": OperatorVerb.RELEASE.value, "ended": len(ended)}

    async def _adopt(self, request: Request, peer: Peer) -> Answer:
        return self._order_miners(OperatorVerb.ADOPT, request, peer)

    async def _unquarantine(self, request: Request, peer: Peer) -> Answer:
        return self._order_miners(OperatorVerb.UNQUARANTINE, request, peer)

    async def _restore(self, request: Request, peer: Peer) -> Answer:
        """Give miners back: park them in the core, then set the profile each had before we first touched it."""
        rows, operator = self._rows(request), operator_name(peer)
        if self.policy.mode is not Mode.CONTROL:
            raise ConsoleRefusedError(
                "the daemon commands nothing in this mode: nothing was changed, so there is nothing to give back"
            )
        state, decision = self._last()
        priors = {row: state.priors[row] for row in rows if row in state.priors}
        if not priors:
            raise ConsoleRefusedError("never read: what these miners ran before is not known")
        rise_w = sum(self._rise_of(row, prior, state, decision) for row, prior in priors.items())
        self._grant(rise_w, len(priors), state, decision)
        await self._record(operator, len(priors))
        self._put(OperatorOrder(OperatorVerb.RESTORE, operator, miners=tuple(priors)))
        waiting: dict[int, asyncio.Future[CommandReport]] = {}
        for row, prior in priors.items():
            self.views.take_restore(row, prior, time.time(), operator)
            waiting[row] = self.actuator.restore(row, prior)
            waiting[row].add_done_callback(partial(self._restored, prior=prior, operator=operator))
        await asyncio.wait(waiting.values(), timeout=RESTORED_WITHIN_S)
        ids = self.facts.miner_ids
        reports = [(ids[row], done.result()) for row, done in waiting.items() if done.done()]
        return {
            "accepted": OperatorVerb.RESTORE.value,
            "miners": len(priors),
            "outcomes": [
                {"miner": name, "outcome": report.outcome.value, "detail": report.detail} for name, report in reports
            ],
            "under_way": [ids[row] for row, done in waiting.items() if not done.done()],
            "never_read": [ids[row] for row in rows if row not in priors],
        }

    def _rise_of(self, row: int, prior: str, state: State, decision: Decision) -> float:
        """Watts one miner would add; none while it sleeps, for a profile wakes nobody."""
        if state.fleet.condition[row] == Condition.ASLEEP:
            return 0.0
        ladder = self.facts.units[row].model.levels
        watts = next((level.power_w for level in ladder if level.name == prior), ladder[-1].power_w)
        return max(watts - float(decision.expected_power_w[row]), 0.0)

    def _grant(self, rise_w: float, miners: int, state: State, decision: Decision) -> None:
        """Refuse a restore that would raise the load above what the site may draw, or while that is in doubt."""
        if rise_w <= 0.0:
            return
        now = asyncio.get_running_loop().time()
        pending_w = self._rise_w if now < self._rise_until else 0.0
        room_w = self._room_w(state, decision)
        would = f"giving back {miners} miners would raise the load by up to {rise_w / 1000:.1f} kW"
        if room_w is None:
            raise ConsoleRefusedError(f"{would}, and nothing is raised now: see `curtaild status`")
        if rise_w > room_w - pending_w:
            room_text = f"{max(room_w - pending_w, 0.0) / 1000:.1f} kW"
            raise ConsoleRefusedError(
                f"{would}, and there is room for {room_text}: name fewer, or lower the site first with `curtaild cap`"
            )
        self._rise_w, self._rise_until = pending_w + rise_w, now + SHOWS_WITHIN_S

    def _room_w(self, state: State, decision: Decision) -> float | None:
        """How much more the site may draw, whatever a person on this machine has capped it to; None in any doubt."""
        figures = decision.figures
        if decision.fail_safe is not InputState.GOOD or decision.setpoint.shed:
            return None
        if figures.surplus_w is None or figures.measured_w is None:
            return None
        caps = [
            entry.dispatch.power_w
            for entry in state.orders.active
            if entry.dispatch.kind is DispatchKind.CAP and entry.dispatch.power_w is not None
        ]
        return min(figures.surplus_w, float(self.policy.site_cap_w), *caps) - figures.measured_w

    async def _record(self, operator: str, miners: int) -> None:
        text = f"{miners} miners to be given back by {operator}"
        row = event_row(time.time(), Event("restore_ordered", EventLevel.INFO, text))
        written = False
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                written = await self.journal.append((row,)).wait()
        if not written:
            raise ConsoleRefusedError("the journal cannot be written, and nothing is raised unrecorded")

    def _restored(self, done: asyncio.Future[CommandReport], prior: str, operator: str) -> None:
        if done.cancelled():
            return
        report = done.result()
        level = EventLevel.INFO if report.outcome in GIVEN_BACK else EventLevel.WARNING
        detail = f" ({report.detail})" if report.detail else ""
        text = f"profile {prior} given back by {operator}: {report.outcome.value}{detail}"
        self.announce(Event("miner_restored", level, text, self.facts.miner_ids[report.miner]))

    def _order_miners(self, verb: OperatorVerb, request: Request, peer: Peer) -> Answer:
        rows = self._rows(request)
        self._put(OperatorOrder(verb, operator_name(peer), miners=rows))
        return {"accepted": verb.value, "miners": len(rows)}

    def _rows(self, request: Request) -> tuple[int, ...]:
        """The named miners, or all of them."""
        named = request.get("miners")
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise ConsoleRefusedError("miners must be a list of miner ids, or [] for all")
        try:
            found = dict.fromkeys(self.facts.index_of(name) for name in named)
        except KeyError as error:
            raise ConsoleRefusedError(str(error.args[0])) from None
        return tuple(found) or tuple(range(len(self.facts)))

    def _put(self, order: OperatorOrder) -> None:
        if not self.mailbox.put_operator(order):
            raise ConsoleRefusedError("too many orders at once; try again in a second")

    def _last(self) -> tuple[State, Decision]:
        try:
            return self.views.last()
        except LookupError as error:
            raise ConsoleRefusedError(str(error.args[0])) from None


def operator_name(peer: Peer) -> str:
    """Who ordered it, as the kernel vouches for it and as people know it."""
    try:
        return f"{pwd.getpwuid(peer.uid).pw_name}, uid {peer.uid}"
    except KeyError:  # an account without a name, as in many containers
        return f"uid {peer.uid}"
