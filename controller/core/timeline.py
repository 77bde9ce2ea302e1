"""The order book: which dispatches are in force at a moment, and every answer their issuers get.

Pure bookkeeping. Whether an order may be obeyed is judged by wall time (UTC seconds), for that is what its issuer
wrote; from then on its life is counted in loop seconds, its start too, for a wall clock can be stepped (decision 0016).
Of each issuer one order is in force, the one that began last; others may be scheduled (decision 0027). What an order is
worth in watts is the arbiter's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    over: list[ActiveOrder] = []
    for entry in (*ledger.book.active, *ledger.book.scheduled):
        if entry.ends_at <= now:
            ledger.say(entry.dispatch, S.EXPIRED, wall)
            over.append(entry)
    if over:
        ledger.book = _without(ledger.book, over)


def begin(ledger: Ledger, wall: float, now: float) -> list[Dispatch]:
    """Put the scheduled orders into force whose time has come, each in the place of its issuer's running one."""
    due = sorted((e for e in ledger.book.scheduled if e.starts_at <= now), key=lambda entry: entry.starts_at)
    for entry in due:
        _supersede(ledger, entry.dispatch, _replaced_by(entry.dispatch, ledger.book.active), wall)
        ledger.book = replace(ledger.book, active=(*ledger.book.active, entry))
    if due:
        later = tuple(entry for entry in ledger.book.scheduled if entry.starts_at > now)
        ledger.book = replace(ledger.book, scheduled=later)
    return [entry.dispatch for entry in due]


def in_force_at(book: OrderBook, at: float) -> tuple[ActiveOrder, ...]:
    """Which orders will be in force at loop second `at`, if no other comes and none is released."""
    found = book.active
    for entry in sorted(book.scheduled, key=lambda one: one.starts_at):
        if entry.starts_at <= at:
            replaced = _replaced_by(entry.dispatch, found)
            found = (*(one for one in found if one not in replaced), entry)
    return tuple(entry for entry in found if entry.ends_at > at)


def is_scheduled(order: Dispatch, policy: Policy, wall: float) -> bool:
    """Whether its time is still to come. A start that has passed is one at once, and so is one no further ahead than
    clocks differ: who stamps every order with the time of now, by a clock a little ahead of ours, means now."""
    return order.not_before is not None and order.not_before > wall + policy.dispatch.clock_skew_s


def admit(
    ledger: Ledger,
    policy: Policy,
    received: Received,
    floor_w: int,
    wall: float,
    now: float,
    late: Callable[[Dispatch], str] = lambda order: "",
) -> bool:
    """Judge one message and answer it; True when an order was accepted. Nothing moves for a message that is refused.

    `now` is loop seconds: an accepted order's life is counted from it. late: what its issuer should know of a scheduled
    order that cannot be met at its time, nothing when it can.
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
        _supersede(ledger, message, _of(message.issuer, (*ledger.book.active, *ledger.book.scheduled)), wall)
        ledger.say(message, S.REACHED, wall)
        return True
    assert message.power_w is not None  # decoded orders carry one unless they release
    answered, scheduled = message.power_w, is_scheduled(message, policy, wall)
    too_late = late(message) if scheduled else ""
    if answered < floor_w:
        answered = floor_w
        why = f"below what auxiliaries and sleeping miners draw; {floor_w / 1000:.1f} kW is achievable"
        ledger.say(message, S.CLAMPED, wall, answered, "; ".join(text for text in (why, too_late) if text))
    else:
        ledger.say(message, S.ACCEPTED, wall, answered, too_late)
    if message.dispatch_class is DispatchClass.TEST:
        return True
    entry = ActiveOrder(message, answered, reached=False, ends_at=moment_of(message.expires_at, wall, now))
    if scheduled:
        assert message.not_before is not None
        entry = replace(entry, starts_at=moment_of(message.not_before, wall, now))
        _supersede(ledger, message, _at_the_same_time(ledger.book, message), wall)
        ledger.book = replace(ledger.book, scheduled=(*ledger.book.scheduled, entry))
    else:
        _supersede(ledger, message, _of(message.issuer, ledger.book.active), wall)
        ledger.book = replace(ledger.book, active=(*ledger.book.active, entry))
    return True


def moment_of(expires_at: float, wall: float, now: float) -> float:
    """The loop second at which something that ends or begins at a wall second does, by the clocks as they are now."""
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
        wait = ", the wait for not_before included" if is_scheduled(order, policy, wall) else ""
        return RejectCode.INVALID_DATA, f"would live longer than {limits.lifetime_max_s:g} s{wait}"
    if order.not_before is not None:
        if order.kind is DispatchKind.RELEASE:
            return RejectCode.INVALID_DATA, "a release ends orders at once: leave out not_before"
        if order.dispatch_class is DispatchClass.EMERGENCY:
            return RejectCode.INVALID_DATA, "an emergency is never scheduled: leave out not_before, or use class normal"
        if order.not_before >= order.expires_at:
            return RejectCode.INVALID_DATA, "expires_at is not after not_before"
    if order.kind is not DispatchKind.RELEASE and order.power_w is None:
        return RejectCode.INVALID_DATA, f"a {order.kind.value} needs kw"
    if order.power_w is not None and not 0 <= order.power_w <= policy.site_cap_w:
        asked, cap = order.power_w / 1000, policy.site_cap_w / 1000
        return RejectCode.INVALID_DATA, f"{asked:g} kW is outside 0 to {cap:g} kW, the site's contract"
    scheduled = is_scheduled(order, policy, wall)
    staying = _staying(book, order, scheduled)
    if order.kind is not DispatchKind.RELEASE and staying >= limits.active_max:
        where = "scheduled" if scheduled else "in force"
        return RejectCode.NOT_ALLOWED, f"{staying} other orders are {where}, the most allowed"
    return None


def _staying(book: OrderBook, order: Dispatch, scheduled: bool) -> int:
    """How many orders there will be beside this one: in force, or scheduled; neither takes a place from the other."""
    if scheduled:
        return len(book.scheduled) - len(_at_the_same_time(book, order))
    return sum(entry.dispatch.issuer != order.issuer for entry in book.active)


def _at_the_same_time(book: OrderBook, order: Dispatch) -> tuple[ActiveOrder, ...]:
    """Its issuer's scheduled orders with the very same start: this one corrects them."""
    mine = _of(order.issuer, book.scheduled)
    return tuple(entry for entry in mine if entry.dispatch.not_before == order.not_before)


def _reject(
    ledger: Ledger, dispatch_id: str, issuer: str, code: RejectCode, why: str, wall: float, terminal: bool = True
) -> None:
    ledger.answers.append(Answer(dispatch_id, issuer, S.REJECTED, wall, terminal, None, code, why))


def _known(book: OrderBook, dispatch_id: str) -> bool:
    """Whether this id has its answers already; an order in force is known even when its id was crowded out."""
    accepted = (*book.active, *book.scheduled)
    return dispatch_id in book.seen_ids or any(entry.dispatch.dispatch_id == dispatch_id for entry in accepted)


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


def _of(issuer: str, entries: tuple[ActiveOrder, ...]) -> tuple[ActiveOrder, ...]:
    return tuple(entry for entry in entries if entry.dispatch.issuer == issuer)


def _replaced_by(order: Dispatch, in_force: tuple[ActiveOrder, ...]) -> tuple[ActiveOrder, ...]:
    """Whose place a scheduled order takes as it begins. Not an emergency's: nobody meant to end one beforehand."""
    mine = _of(order.issuer, in_force)
    return tuple(entry for entry in mine if entry.dispatch.dispatch_class is not DispatchClass.EMERGENCY)


def _supersede(ledger: Ledger, by: Dispatch, gone: tuple[ActiveOrder, ...], wall: float) -> None:
    """These, in force or scheduled, have given way to a later one of their issuer."""
    for entry in gone:
        ledger.say(entry.dispatch, S.SUPERSEDED, wall, why=f"by {by.dispatch_id}")
    ledger.book = _without(ledger.book, gone)


def _without(book: OrderBook, gone: Sequence[ActiveOrder]) -> OrderBook:
    active, scheduled = (tuple(e for e in entries if e not in gone) for entries in (book.active, book.scheduled))
    return replace(book, active=active, scheduled=scheduled)
