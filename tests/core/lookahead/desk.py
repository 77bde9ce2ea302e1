"""A whole site that follows a surplus, and its dispatcher."""

from __future__ import annotations

from dataclasses import replace

from tests.core.builders import RESPONSE

TOLERANCE_W = 1_750.0  # half a miner: one put to sleep is gone before the trim that makes up for it
IN_S = 120.0


class Desk:
    """A site of ten miners (36 kW with all on) that follows a surplus of 34 kW, and its dispatcher."""

    def __init__(self, kit, response=RESPONSE, **policy):
        self.kit = kit
        facts = kit.fleet(10, response=response)
        self.site = kit.site(kit.policy(**policy), facts, hashing=[True] * 10, surplus_w=34_000.0)
        self.site.cycles(60)
        self.answers, self.loads, self.seq = [], {}, 0

    def order(self, kind, power_w, in_s=None, **fields):
        """Sends it in the next cycle; `in_s` counts from then on."""
        self.seq += 1
        wall = self.kit.wall + self.site.now + 1.0 + self.site.wall_step_s
        begins = None if in_s is None else wall + in_s
        order = self.kit.order(kind, power_w, **{"seq": self.seq, "issued_at": wall, "lasts_s": 600.0, **fields})
        order = replace(order, not_before=begins)
        self._note(self.site.cycle(received=(self.site.receive(order),)))
        return self.site.now if in_s is None else self.site.now + in_s

    def until(self, at):
        while self.site.now < at:
            self._note(self.site.cycle())

    def _note(self, decision):
        self.answers += [(answer.dispatch_id, answer.status, self.site.now) for answer in decision.answers]
        self.loads[self.site.now] = self.site.load_w()

    def said(self, dispatch_id="desk-1"):
        return [status for name, status, _ in self.answers if name == dispatch_id]

    def load_at(self, at):
        return self.loads[at]

    @property
    def setpoint(self):
        return self.site.decisions[-1].setpoint
