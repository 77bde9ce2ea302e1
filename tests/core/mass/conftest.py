"""A block whose miners vanish in crowds: behind a switch that died, or on a feeder that tripped.

Twenty miners, the first 16 hash: 16 x 3.5 kW and the rest at 50 W. 20 % of them, 4, are a mass disconnect. Up 100 W/s
and 4 kW in any 15 s. With `sweep_s` each miner is read so often, one after the other.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from controller.core import checkpoint
from controller.domain.command import CommandReport, Outcome
from controller.domain.fleet import Condition
from tests.core.site import Site

RATED_W = 80_000
START_S = 30.0  # from power to the first answer
IDLE_W = 20.0


class Block(Site):
    """Miners behind switches and on feeders that can fail, and come back by themselves."""

    def __init__(self, *given, sweep_s=1):
        super().__init__(*given)
        self.sweep_s = sweep_s
        self.unplugged: set[int] = set()
        self.dark: set[int] = set()
        self.starts: dict[int, float] = {}
        self.ends_as: dict[int, bool] = {}
        self.undelivered: list[CommandReport] = []
        self.unsure: set[int] = set()
        self.asked: tuple[int, ...] = ()

    def trip(self, miners):
        self.dark |= set(miners)
        for miner in miners:
            self.ends_as.setdefault(miner, bool(self.hashing[miner]))

    def power(self, miners, **ends_as):
        for miner in miners:
            self.dark.discard(miner)
            self.starts[miner] = self.now + START_S

    def unreachable(self, miner):
        return miner in self.unplugged or miner in self.dark or miner in self.starts

    def draws_w(self):
        watts = super().draws_w()
        for miner in self.dark:
            watts[miner] = 0.0
        for miner in self.starts:
            watts[miner] = IDLE_W
        return watts

    def telemetry(self):
        draws_w = self.draws_w().tolist()
        turn = [m for m in range(len(self.facts)) if (round(self.now) + m) % self.sweep_s == 0 or m in self.asked]
        return tuple(self._reading(miner, draws_w[miner]) for miner in turn if miner not in self.silent)

    def _reading(self, miner, draws_w):
        if self.unreachable(miner):
            return self.kit.reading(miner, Condition.UNREACHABLE, None, self.now, detail="no answer")
        return super()._reading(miner, draws_w)

    def cycle(self, seconds=1.0, **snapshot):
        for miner, at in list(self.starts.items()):
            if self.now + seconds >= at:
                del self.starts[miner]
                self.from_w[miner], self.moved_at[miner] = IDLE_W, self.now + seconds
                self.hashing[miner] = self.ends_as.pop(miner)
                self.boots[miner], self.dead_s[miner], self.way_s[miner] = True, 0.0, 30.0
        reports, self.undelivered = tuple(self.undelivered), []
        decision = super().cycle(seconds, reports=reports, **snapshot)
        self.asked = decision.ask
        return decision

    def obey(self, commands):
        lost = [command for command in commands if self.unreachable(command.miner)]
        for command in lost:
            outcome = Outcome.UNKNOWN if command.miner in self.unsure else Outcome.UNREACHABLE
            sent_at = self.now if outcome is Outcome.UNKNOWN else None
            self.undelivered.append(CommandReport(command.command_id, command.miner, outcome, sent_at, self.now))
        self.sent.extend(lost)
        super().obey(tuple(command for command in commands if command not in lost))

    def events(self, *names):
        said = [(round(d.now), event) for d in self.decisions for event in d.events]
        return [(at, event.name, event.text) for at, event in said if not names or event.name in names]

    def names(self):
        return Counter(event.name for decision in self.decisions for event in decision.events)

    def commands_to(self, miners, since=0.0):
        return [c for d in self.decisions if d.now >= since for c in d.commands if c.miner in miners]

    def restart(self):
        record = json.loads(json.dumps(checkpoint.to_record(self.facts, self.state, self.now)))
        self.state = checkpoint.from_record(self.facts, record, self.now, self.kit.wall + self.now)

    def run_until(self, condition, within):
        for _ in range(within):
            self.cycle()
            if condition():
                return
        raise AssertionError(f"not within {within} cycles")


@pytest.fixture
def block(kit):
    def make(*, sweep_s=1, hashing=16, n=20, surplus_w=57_400.0, facts=None, policy=None, **fleet):
        rules = policy or {}
        made = Block(
            kit.policy(rated_w=RATED_W, site_cap_w=RATED_W, fleet={"dwell_off_s": 20.0, **fleet}, **rules),
            facts or kit.fleet(n),
            [index < hashing for index in range(n)],
            surplus_w,
            sweep_s=sweep_s,
        )
        made.kit = kit
        made.cycles(40)
        made.decisions.clear()
        made.sent.clear()
        return made

    return make


LOST = range(4, 10)


def dark_outage(site, lost=LOST, lasts=90):
    site.trip(lost)
    site.cycles(lasts)
