"""The order book: which dispatches are in force at a moment, and every answer their issuers get.

Pure bookkeeping. Whether an order may be obeyed is judged by wall time (UTC seconds), for that is what its issuer
wrote; from then on its life is counted in loop seconds, for a wall clock can be stepped (decision 0016). What an order
is worth in watts is the arbiter's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from controller.core.state import ActiveOrder, OrderBook
from controller.domain.dispatch import (
    Answer,
    AnswerStatus,
    Dispatch,
    DispatchClass,
    DispatchKind,
    Malformed,
    Received,
    RejectCode,
)
from controller.domain.policy import Policy

S = AnswerStatus

# Which answers end an order, by kind: exactly one terminal answer per order is the contract (docs/dispatching.md).
TERMINAL: dict[DispatchKind, frozenset[AnswerStatus]] = {
    DispatchKind.CAP: frozenset({S.REJECTED, S.EXPIRED, S.SUPERSEDED}),
    DispatchKind.TARGET: frozenset({S.REJECTED, S.EXPIRED, S.SUPERSEDED}),
    DispatchKind.RELEASE: frozenset({S.REJECTED, S.REACHED}),
}
# An order of class TEST is judged like any other and moves nothing: its judgement is its end, whatever its kind.
TERMINAL_OF_TEST = frozenset({S.REJECTED, S.ACCEPTED, S.CLAMPED})


def terminal_answers(order: Dispatch) -> frozenset[AnswerStatus]:
    """The answers after which the issuer hears no more of this order."""
    return TERMINAL_OF_TEST if order.dispatch_class is DispatchClass.TEST else TERMINAL[order.kind]


@dataclass(slots=True)
class Ledger:
    """The cycle's working copy of the book and the answers it produced, in order."""

    book: OrderBook
    answers: list[Answer] = field(default_factory=list)

    def say(
        self, order: Dispatch, status: AnswerStatus, wall: float, power_w: int | None = None, why: str = ""
    ) -> None:
        terminal = status in terminal_answers(order)
        self.answers.append(Answer(order.dispatch_id, order.issuer, status, wall, terminal, power_w, None, why))


def expire(ledger: Ledger, wall: float, now: float) -> None:
    """End the orders whose time is over; `now` is loop seconds."""
    over = [entry for entry in ledger.book.active if entry.ends_at <= now]
    for entry in over:
        ledger.say(entry.dispatch, S.EXPIRED, wall)
    if over:
        ledger.book = replace(ledger.book, active=tuple(one for one in ledger.book.active if one.ends_at > now))


def admit(ledger: Ledger, policy: Policy, received: Received, floor_w: int, wall: float, now: float) -> bool:
    """Judge one message and answer it; True when an order was accepted. Nothing moves for a message that is refused.

    `now` is loop seconds: an accepted order's life is counted from it.
    """
    message = received.message
    duplicate = _known(ledger.book, message.dispatch_id)
    if isinstance(message, Malformed):
        _reject(ledger, message.dispatch_id, message.issuer, message.code, message.reason, wall, terminal=not duplicate)
        if not duplicate and message.dispatch_id:
            _remember(ledger, policy, message.dispatch_id)
        return False
    fault = _fault_of(ledger.book, policy, message, received.retained, wall)
    ledger.answers.append(Answer(message.dispatch_id, message.issuer, S.RECEIVED, wall, terminal=False))
    if fault is not None:
        _reject(ledger, message.dispatch_id, message.issuer, *fault, wall, terminal=not duplicate)
        if not duplicate:
            _remember(ledger, policy, message.dispatch_id)
        return False
    _remember(ledger, policy, message.dispatch_id, executed=message)
    if message.kind is DispatchKind.RELEASE:
        ledger.say(message, S.ACCEPTED, wall)
        if message.dispatch_class is DispatchClass.TEST:
            return True
        _end_orders_of(ledger, message, wall)
        ledger.say(message, S.REACHED, wall)
        return True
    assert message.power_w is not None  # decoded orders carry one unless they release
    answered = message.power_w
    if answered < floor_w:
        answered = floor_w
        why = f"below what auxiliaries and sleeping miners draw; {floor_w / 1000:.1f} kW is achievable"
        ledger.say(message, S.CLAMPED, wall, answered, why)
    else:
        ledger.say(message, S.ACCEPTED, wall, answered)
    if message.dispatch_class is DispatchClass.TEST:
        return True
    _end_orders_of(ledger, message, wall)
    entry = ActiveOrder(message, answered, reached=False, ends_at=end_of_life(message.expires_at, wall, now))
    ledger.book = replace(ledger.book, active=(*ledger.book.active, entry))
    return True


def end_of_life(expires_at: float, wall: float, now: float) -> float:
    """The loop second at which something that expires at a wall second does, by the two clocks as they stand now."""
    return now + round(expires_at - wall, 3)  # beyond a millisecond a UTC second of this century is noise


def mark_reached(ledger: Ledger, measured_w: float | None, tolerance_w: float, wall: float) -> None:
    """Say REACHED, once, for every order the site meter now shows fulfilled."""
    if measured_w is None or not ledger.book.active:
        return
    marked: list[ActiveOrder] = []
    for entry in ledger.book.active:
        if not entry.reached and _fulfilled(entry, measured_w, tolerance_w):
            ledger.say(entry.dispatch, S.REACHED, wall, round(measured_w))
            entry = replace(entry, reached=True)  # the marked copy takes its place
        marked.append(entry)
    ledger.book = replace(ledger.book, active=tuple(marked))


def _fulfilled(entry: ActiveOrder, measured_w: float, tolerance_w: float) -> bool:
    asked = float(entry.answered_w or 0)
    if entry.dispatch.kind is DispatchKind.CAP:
        return measured_w <= asked + tolerance_w
    return abs(measured_w - asked) <= tolerance_w


def _fault_of(
    book: OrderBook, policy: Policy, order: Dispatch, retained: bool, wall: float
) -> tuple[RejectCode, str] | None:
    """Why this order may not be obeyed, or None. The first fault found is the one told."""
    limits = policy.dispatch
    if _known(book, order.dispatch_id):
        return RejectCode.INVALID_ID, "this id was answered before; that answer stands"
    if retained:
        return RejectCode.NOT_ALLOWED, "retained message: publish orders without the retain flag"
    if order.seq <= book.last_seq.get(order.issuer, -1):
        return RejectCode.OUT_OF_SEQUENCE, f"seq {order.seq} is not above {book.last_seq[order.issuer]}"
    age = wall - order.issued_at
    if age > limits.issued_at_window_s:
        return RejectCode.EXPIRED, f"issued {age:.1f} s ago, more than {limits.issued_at_window_s:g} s"
    if -age > limits.clock_skew_s:
        return RejectCode.INVALID_DATA, f"issued {-age:.1f} s in the future: check the clocks"
    if order.expires_at <= wall:
        return RejectCode.EXPIRED, "expires_at has passed"
    if order.expires_at <= order.issued_at:
        return RejectCode.INVALID_DATA, "expires_at is not after issued_at"
    if order.expires_at - wall > limits.lifetime_max_s:
        return RejectCode.INVALID_DATA, f"would live longer than {limits.lifetime_max_s:g} s"
    if order.kind is not DispatchKind.RELEASE and order.power_w is None:
        return RejectCode.INVALID_DATA, f"a {order.kind.value} needs kw"
    if order.power_w is not None and not 0 <= order.power_w <= policy.site_cap_w:
        asked, cap = order.power_w / 1000, policy.site_cap_w / 1000
        return RejectCode.INVALID_DATA, f"{asked:g} kW is outside 0 to {cap:g} kW, the site's contract"
    others = [entry for entry in book.active if entry.dispatch.issuer != order.issuer]
    if order.kind is not DispatchKind.RELEASE and len(others) >= limits.active_max:
        return RejectCode.NOT_ALLOWED, f"{len(others)} orders of other issuers are in force, the most allowed"
    return None


def _reject(
    ledger: Ledger, dispatch_id: str, issuer: str, code: RejectCode, why: str, wall: float, terminal: bool = True
) -> None:
    ledger.answers.append(Answer(dispatch_id, issuer, S.REJECTED, wall, terminal, None, code, why))


def _known(book: OrderBook, dispatch_id: str) -> bool:
    """Whether this id has its answers already; an order in force is known even when its id was crowded out."""
    return dispatch_id in book.seen_ids or any(entry.dispatch.dispatch_id == dispatch_id for entry in book.active)


def _remember(ledger: Ledger, policy: Policy, dispatch_id: str, executed: Dispatch | None = None) -> None:
    """Keep the id; keep the sequence number only of orders that were executed, so a refused one blocks nothing."""
    seen = (*ledger.book.seen_ids, dispatch_id)[-policy.dispatch.remembered_ids_max :]
    last = dict(ledger.book.last_seq)
    if executed is not None:
        last.pop(executed.issuer, None)  # newest last: the issuers heard longest ago are the first to be forgotten
        last[executed.issuer] = executed.seq
        while len(last) > policy.dispatch.remembered_ids_max:
            del last[next(iter(last))]
    ledger.book = replace(ledger.book, seen_ids=seen, last_seq=last)


def _end_orders_of(ledger: Ledger, by: Dispatch, wall: float) -> None:
    """A later order of the same issuer takes the place of its earlier ones."""
    kept: list[ActiveOrder] = []
    for entry in ledger.book.active:
        if entry.dispatch.issuer == by.issuer:
            ledger.say(entry.dispatch, S.SUPERSEDED, wall, why=f"by {by.dispatch_id}")
        else:
            kept.append(entry)
    ledger.book = replace(ledger.book, active=tuple(kept))
