"""What is remembered of response classes and of the waves in which they are woken: arrays, like all of the state.

A class is a model with its firmware, as the inventory has it. c classes, f feeders, n miners, three verbs in the order
of VERBS, two shares of a move in the order of SHARES.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np

from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, Fleet, FloatArray, IntArray

VERBS = (Verb.SLEEP, Verb.WAKE, Verb.TRIM)
SHARES = (0.1, 0.9)  # of the way: when power begins to move, and when it has as good as arrived
RATIO_LEAST, RATIO_MOST = 0.25, 4.0  # what is learned stays within these times the configured figure
STEPS_PER_OCTAVE = 6
TRUTH_PRIOR = 0.10  # standard deviation of true over reported watts, before anything is known
GRID = RATIO_LEAST * 2.0 ** (np.arange(4 * STEPS_PER_OCTAVE + 1) / STEPS_PER_OCTAVE)
"""Ages as ratios of the configured figure, (g,): where evidence is counted, each 12 % above the last."""


@dataclass(slots=True)
class ClassState:
    """Evidence of what each class does, and what it proves.

    Of commands that were obeyed: early, late (c, 3, 2, g): how many had, and how many had not, come so far at that
    age. commands (c, 3): how many stand behind that. dead_s, to_90_s (c, 3): what it proves, NaN nothing yet.
    boots, booted (c,): wakes judged, and those proved hashing in time. sleep_ratio (c,): the middle of what sleepers
    say that they draw, over the configured watts; sleep_reads (c,). All but the ratio fade, so that the last few
    hundred decide. truth (c,), truth_var (c, c): true watts over those that miners say, and its variance; said_w (c,):
    what they said when the site meter was last held against it. See core/class_truth.
    Of the command in flight to a miner: about (n,) its id; low, high (n, 2): the highest age at which a reading showed
    less than that share of the way, and the lowest at which one showed more.
    """

    early: FloatArray
    late: FloatArray
    commands: FloatArray
    dead_s: FloatArray
    to_90_s: FloatArray
    boots: FloatArray
    booted: FloatArray
    sleep_ratio: FloatArray
    sleep_reads: FloatArray
    truth: FloatArray
    truth_var: FloatArray
    said_w: FloatArray
    about: IntArray
    low: FloatArray
    high: FloatArray

    @staticmethod
    def bounded(ratio: float) -> float:
        """What is learned, as a ratio to the configured figure, within what is believed."""
        return min(max(ratio, RATIO_LEAST), RATIO_MOST)

    def copy(self) -> ClassState:
        return ClassState(*map(np.ndarray.copy, _EVIDENCE(self)))

    @classmethod
    def untaught(cls, facts: Fleet) -> ClassState:
        classes, miners = len(facts.class_names), len(facts)
        evidence = np.zeros((classes, len(VERBS), len(SHARES), len(GRID)))
        per_verb = np.zeros((classes, len(VERBS)))
        return cls(
            early=evidence.copy(),
            late=evidence.copy(),
            commands=per_verb.copy(),
            dead_s=np.full_like(per_verb, math.nan),
            to_90_s=np.full_like(per_verb, math.nan),
            boots=np.zeros(classes),
            booted=np.zeros(classes),
            sleep_ratio=np.ones(classes),
            sleep_reads=np.zeros(classes),
            truth=np.ones(classes),
            truth_var=np.eye(classes) * TRUTH_PRIOR**2,
            said_w=np.zeros(classes),
            about=np.zeros(miners, dtype=np.int64),
            low=np.zeros((miners, len(SHARES))),
            high=np.full((miners, len(SHARES)), math.inf),
        )


@dataclass(slots=True)
class WaveState:
    """How many miners of one class may be starting at once on one feeder, all arrays (c, f); see core/waves.

    size: so many. good, bad: boots judged since the wave was last judged as a whole. peak: most that were starting at
    once since then. stopped: none is woken until stopped_until, loop seconds. failed_size, failed_at: how many were
    starting at once when it last failed, inf never, and when. woken_at: loop seconds of the last batch of wakes.
    """

    size: FloatArray
    good: IntArray
    bad: IntArray
    peak: IntArray
    stopped: BoolArray
    stopped_until: FloatArray
    failed_size: FloatArray
    failed_at: FloatArray
    woken_at: float = -math.inf

    def copy(self) -> WaveState:
        other = WaveState(*map(np.ndarray.copy, _CELLS(self)))
        other.woken_at = self.woken_at
        return other

    @classmethod
    def untried(cls, facts: Fleet) -> WaveState:
        """Every wave at no size yet (0): the policy's first one is taken when it is asked for."""
        cells = (len(facts.class_names), len(facts.feeder_names))
        none = np.zeros(cells, dtype=np.int64)
        return cls(
            size=np.zeros(cells),
            good=none.copy(),
            bad=none.copy(),
            peak=none.copy(),
            stopped=np.zeros(cells, dtype=np.bool_),
            stopped_until=np.full(cells, -math.inf),
            failed_size=np.full(cells, math.inf),
            failed_at=np.full(cells, -math.inf),
        )


_EVIDENCE = attrgetter(*(entry.name for entry in fields(ClassState)))
_CELLS = attrgetter(*(entry.name for entry in fields(WaveState) if entry.name != "woken_at"))
