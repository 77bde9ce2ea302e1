"""The dispatches in the run of a seed: valid orders of two issuers, and everything that must be refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Malformed, Received, RejectCode
from tests.rig.setup import WALL_AT_START, Message

LATER_STREAM = 27  # the number of the random stream that says which orders are scheduled


def messages(rng: np.random.Generator, seed: int, rated_w: int, calm_from_s: float) -> tuple[Message, ...]:
    """Valid orders of two issuers, and everything that must be refused."""
    found: list[Message] = []
    seq = {"grid": 10, "trader": 500}
    sent: list[Dispatch] = []
    at_s = float(rng.uniform(15.0, 60.0))
    while at_s < calm_from_s - 10.0 and len(found) < 40:
        issuer = str(rng.choice(list(seq)))
        wall = WALL_AT_START + at_s
        seq[issuer] += 1
        order = _order(rng, f"{seed}-{len(found)}", issuer, seq[issuer], wall, rated_w, calm_from_s - at_s)
        order = _later(np.random.default_rng([seed, len(found), LATER_STREAM]), order, wall, calm_from_s - at_s)
        message, keeps_seq = _spoil(rng, order, wall, sent)
        if message.obeyed:
            sent.append(order)
        elif not keeps_seq:
            seq[issuer] -= 1
        found.append(replace(message, at_s=at_s))
        at_s += float(rng.exponential(45.0)) if rng.random() > 0.1 else 0.0
    return tuple(found)


def _order(
    rng: np.random.Generator, order_id: str, issuer: str, seq: int, wall: float, rated_w: int, left_s: float
) -> Dispatch:
    kind = DispatchKind(str(rng.choice(["cap", "target", "release"], p=[0.55, 0.25, 0.2])))
    urgent = kind is DispatchKind.CAP and rng.random() < 0.15
    return Dispatch(
        dispatch_id=order_id,
        issuer=issuer,
        seq=seq,
        issued_at=wall - float(rng.uniform(0.0, 2.0)),
        expires_at=wall + min(float(rng.uniform(5.0, 180.0)), left_s),
        dispatch_class=DispatchClass.EMERGENCY if urgent else DispatchClass(str(rng.choice(["normal", "economic"]))),
        kind=kind,
        power_w=None if kind is DispatchKind.RELEASE else round(float(rng.uniform(0.0, 1.0)) * rated_w),
        priority=int(rng.integers(0, 3)),
    )


def _later(rng: np.random.Generator, order: Dispatch, wall: float, left_s: float) -> Dispatch:
    """One in four of those that can be scheduled is; `rng` is its own, so that the rest of a seed stays as it was."""
    cannot = order.kind is DispatchKind.RELEASE or order.dispatch_class is DispatchClass.EMERGENCY
    if cannot or left_s < 30.0 or rng.random() > 0.25:
        return order
    begins = wall + float(rng.uniform(1.0, min(150.0, left_s - 20.0)))
    ends = min(begins + order.expires_at - wall, wall + left_s)
    return replace(order, not_before=begins, expires_at=ends)


def _spoil(rng: np.random.Generator, order: Dispatch, wall: float, sent: list[Dispatch]) -> tuple[Message, bool]:
    """The order as it is, or one of the ways in which it must be refused; and whether its number counts as used."""
    way = int(rng.integers(0, 14))
    retained = False
    message: Dispatch | Malformed = order
    match way:
        case 0 if sent:
            message = sent[int(rng.integers(len(sent)))]  # the same bytes again
        case 1:
            message = replace(order, expires_at=wall - 1.0, issued_at=wall - 20.0)
        case 2:
            message = replace(order, issued_at=wall - 300.0)
        case 3:
            message = replace(order, issued_at=wall + 60.0, expires_at=wall + 120.0)
        case 4 if order.power_w is not None:
            message = replace(order, power_w=-5_000 if rng.random() < 0.5 else 10**9)
        case 5:
            message = Malformed(order.dispatch_id, order.issuer, RejectCode.INVALID_DATA, "kw: not a number")
        case 6 if any(one.issuer == order.issuer for one in sent):
            message = replace(order, seq=order.seq - 5)
        case 7:
            retained = True
        case _:
            return Message(0.0, Received(order, wall), obeyed=True), True
    return Message(0.0, Received(message, wall, retained), obeyed=False), False
