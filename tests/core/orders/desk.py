"""An order book with a clock, and how its answers are read."""

from __future__ import annotations

from dataclasses import replace

from controller.core import timeline
from controller.core.state import OrderBook
from controller.domain.dispatch import AnswerStatus, DispatchKind, Received

S = AnswerStatus
CAP, TARGET, RELEASE = DispatchKind.CAP, DispatchKind.TARGET, DispatchKind.RELEASE
FLOOR = 1_200


class Desk:
    """A book with a clock; every method returns the answers it caused."""

    def __init__(self, kit, **dispatch):
        self.kit, self.wall, self.book = kit, kit.wall, OrderBook()
        self.policy = kit.policy(dispatch=dispatch)

    @property
    def now(self):
        return self.wall - self.kit.wall

    def _run(self, act):
        ledger = timeline.Ledger(self.book)
        act(ledger)
        self.book = ledger.book
        return ledger.answers

    def admit(self, message, retained=False, floor=FLOOR):
        received = Received(message, self.wall, retained)
        return self._run(lambda ledger: timeline.admit(ledger, self.policy, received, floor, self.wall, self.now))

    def order(self, *args, **fields):
        starts = fields.pop("starts_in_s", None)
        order = self.kit.order(*args, **{"issued_at": self.wall, **fields})
        return self.admit(order if starts is None else replace(order, not_before=self.wall + starts))

    def expire(self):
        """What time alone does: orders end, and begin."""

        def pass_time(ledger):
            timeline.expire(ledger, self.wall, self.now)
            timeline.begin(ledger, self.wall, self.now)

        return self._run(pass_time)

    def meter(self, measured_w, tolerance_w=800.0):
        return self._run(lambda ledger: timeline.mark_reached(ledger, measured_w, tolerance_w, self.wall))

    def active(self):
        return [entry.dispatch.dispatch_id for entry in self.book.active]

    def scheduled(self):
        return [entry.dispatch.dispatch_id for entry in self.book.scheduled]


def statuses(answers):
    return [answer.status for answer in answers]


def refusal(answers):
    assert statuses(answers)[-1] is S.REJECTED
    assert answers[-1].reason
    return answers[-1].code
