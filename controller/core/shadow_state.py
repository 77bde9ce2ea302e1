"""What shadow mode remembers between two cycles: the fleet as it would be, and what is known of the real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from controller.core.imagined import ImaginedFleet
from controller.domain.command import Command
from controller.domain.fleet import BoolArray, ByteArray, Fleet, FloatArray
from controller.domain.metering import Point, Sample
from controller.domain.shadow import Tally


@dataclass(slots=True)
class ShadowState:
    """fleet: as it would be. real_w (n,): what each really draws, by its last reading, NaN never. real_on (n,): whether
    it really hashes, -1 unknown. away (n,): cannot be reached, which would be so in our hands as well.

    begun: a command was decided, and from there on the two fleets part. rest_w: what the site meter shows beside the
    miners; noise_w: what it wanders around that. shown: the newest samples as they would be. loads, exports: the last
    two real samples of site and POI meter, oldest first. sent, sent_at: the commands of the last cycle. at: when that
    was.
    """

    fleet: ImaginedFleet
    real_w: FloatArray
    real_on: ByteArray
    away: BoolArray
    begun: bool = False
    rest_w: float | None = None
    noise_w: float = 0.0
    shown: dict[Point, Sample] = field(default_factory=dict)
    loads: tuple[Sample, ...] = ()
    exports: tuple[Sample, ...] = ()
    sent: tuple[Command, ...] = ()
    sent_at: float = 0.0
    at: float | None = None
    compared_s: float = 0.0
    shadow: Tally = field(default_factory=Tally)
    site: Tally = field(default_factory=Tally)
    commands: dict[str, int] = field(default_factory=dict)

    @classmethod
    def nothing_seen(cls, facts: Fleet) -> ShadowState:
        n = len(facts)
        return cls(
            fleet=ImaginedFleet.nobody(facts),
            real_w=np.full(n, np.nan),
            real_on=np.full(n, -1, dtype=np.int8),
            away=np.zeros(n, dtype=np.bool_),
        )

    @property
    def answers(self) -> BoolArray:
        """(n,) who would obey."""
        there: BoolArray = self.fleet.known & ~self.away
        return there

    def copy(self) -> ShadowState:
        """One that shares nothing mutable with this one."""
        return replace(
            self,
            fleet=self.fleet.copy(),
            real_w=self.real_w.copy(),
            real_on=self.real_on.copy(),
            away=self.away.copy(),
            shown=dict(self.shown),
            shadow=replace(self.shadow),
            site=replace(self.site),
            commands=dict(self.commands),
        )
