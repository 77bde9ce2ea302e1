"""What readings and outcomes prove about one miner, told as short stories.

The miner: asleep after 1 s + 3 s, awake after 10 s + 30 s, trimmed after 1 s + 5 s. A command is overdue at twice that
and 10 s more: 18 s, 90 s and 22 s.
"""

from __future__ import annotations

import pytest

from controller.core import mass, reconcile, telemetry, verify, work
from controller.core.consequences import Findings
from controller.domain.fleet import Condition, Verdict
from controller.domain.reasons import Bound

HASHING, ASLEEP = Condition.HASHING, Condition.ASLEEP


class Story:
    """A fleet of `n` miners, one command at a time, telemetry by hand."""

    def __init__(self, kit, hashing=(True,), **fleet):
        self.kit = kit
        self.policy = kit.policy(fleet=fleet).fleet
        self.facts = kit.fleet(len(hashing))
        self.state = kit.seen_state(self.facts, hashing)
        self.now = 0.0
        self.shed = False
        self.findings = Findings()

    @property
    def fleet(self):
        return self.state.fleet

    def verdict(self, miner=0):
        return Verdict(int(self.fleet.verdict[miner]))

    def want(self, hashing=None, level=None, miner=0):
        """Change what is wanted and send what that takes."""
        before = self.fleet.wants()
        if hashing is not None:
            self.fleet.want_hashing[miner] = hashing
        if level is not None:
            self.fleet.want_level[miner] = level
        return self.due(before)

    def due(self, before=None):
        before = before or self.fleet.wants()
        return reconcile.commands_due(self.facts, before, self.state, self.policy, self.shed, "test", self.now)

    def at(self, now, *readings, reports=()):
        """One cycle's verification; returns the verdicts it reported."""
        self.now = now
        self.state.shed_by = Bound.GRID_EMERGENCY if self.shed else None
        self.findings = Findings()
        said_no = verify.take_reports(self.facts, self.state, tuple(reports), now, self.findings)
        fresh = telemetry.take_readings(self.facts, self.state, self.policy, tuple(readings), now, self.findings)
        stopped = work.take_rates(self.facts, self.state.fleet, fresh, tuple(readings))
        mass.notice(self.facts, self.state, self.policy, fresh, stopped, now, self.findings)
        verify.judge(self.facts, self.state, self.policy, fresh, said_no, now, self.findings)
        return [(report.verb, report.verdict) for report in self.findings.verdicts]

    def hashes(self, at=None, power_w=3_500.0, level=3, miner=0, **rest):
        return self.kit.reading(miner, HASHING, power_w, self.now if at is None else at, level=level, **rest)

    def sleeps(self, at=None, power_w=50.0, miner=0):
        return self.kit.reading(miner, ASLEEP, power_w, self.now if at is None else at)

    def events(self):
        return [event.name for event in self.findings.events]


@pytest.fixture
def story(kit):
    return Story(kit)


@pytest.fixture
def sleeper(kit):
    return Story(kit, hashing=(False,))
