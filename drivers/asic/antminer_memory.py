"""What the driver of one stock Antminer remembers between its calls, and what it is told to do. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from controller.domain.command import Outcome
from drivers.asic.antminer_conf import LOW, NORMAL, SLEEP, differences, is_mode
from drivers.asic.antminer_reading import Seen
from drivers.asic.http import LATE_S

_CONF_KNOWN_S: Final = 60.0
"""A configured mode is asked for again after this long, and at once when the mining process was restarted."""
_RESTART_SLACK_S: Final = 5.0
"""Miners count their uptime in whole seconds, and not to the second."""


@dataclass(slots=True)
class Known:
    """What earlier reads and writes left behind; times are loop seconds, -inf for never."""

    mode: str | None = None
    mode_at: float = -math.inf
    awake_mode: str | None = None
    rate_before_th: float | None = None
    woken_at: float | None = None
    mute_since: float | None = None
    written_at: float = -math.inf
    wake_unheard_at: float = -math.inf
    had_pools: bool = False
    before_sleep: Mapping[str, Any] | None = None

    def conf_is_due(self, now: float, elapsed_s: float | None, *, hashes: bool, mute: bool) -> bool:
        """Whether the configured mode must be asked for, given what port 4028 said at `now`."""
        age_s = now - self.mode_at
        if mute or age_s > _CONF_KNOWN_S:
            return True
        if hashes:
            return False
        # Without a rate only a mode will do that no restart can have changed since it was read.
        restarted = elapsed_s is None or elapsed_s < age_s + _RESTART_SLACK_S
        return self.mode != SLEEP or restarted

    def learn_mode(self, mode: str | None, asked_at: float) -> None:
        """A configured mode was asked for at `asked_at`; None when no answer held one, and then none is known."""
        if mode is None:
            self.forget_conf()
            return
        self.mode, self.mode_at = mode, asked_at
        if mode != SLEEP:
            self.awake_mode = mode

    def forget_conf(self) -> None:
        """What is configured may be something else in a moment."""
        self.mode, self.mode_at = None, -math.inf

    def forget_miner(self) -> None:
        """Another machine answers: what it runs, or did for us, is nothing to go by once ours is back."""
        self.awake_mode = self.woken_at = None
        self.wake_unheard_at = -math.inf
        self.had_pools = False
        self.before_sleep = None

    def written(
        self, at: float, target: str, before: str | None, outcome: Outcome, conf: Mapping[str, Any] | None = None
    ) -> None:
        """A write of the mode `target` left at `at`, over the mode `before`, and ended with `outcome`; `conf` is the
        configuration it was made from."""
        self.written_at = at
        if target == SLEEP and before != SLEEP:
            self.before_sleep = conf
        if target != SLEEP:
            self.wake_unheard_at = at if outcome is Outcome.UNKNOWN else -math.inf
        elif outcome is not Outcome.REFUSED:  # one that was turned away holds up no wake
            self.wake_unheard_at = -math.inf
        self.woken_at = at if before == SLEEP and target != SLEEP else None
        self.awake_mode = target if target != SLEEP else before if before != SLEEP else self.awake_mode
        self.rate_before_th = 0.0  # the mining process restarts

    def changed_asleep(self, conf: Mapping[str, Any]) -> str:
        """What to say of a configuration about to be woken that is not the one that was put to sleep."""
        others = () if self.before_sleep is None else differences(self.before_sleep, conf)
        return f"changed beside the mode since it was put to sleep: {', '.join(others)}" if others else ""

    def wake_may_come(self, now: float) -> bool:
        """Whether a wake of ours is still without an answer, so that a miner configured to sleep may yet wake."""
        return now - self.wake_unheard_at < LATE_S

    def note(self, at: float, *, hashes: bool, mute: bool | None) -> None:
        """What a read that began at `at` showed. mute: port 4028 is closed and nobody told a rate, neither zero nor
        any other; None when the whole miner was silent, and that is no sign of its mining process alone."""
        if hashes:
            self.woken_at = None
        if not mute:
            self.mute_since = None
        else:
            self.mute_since = at if self.mute_since is None else self.mute_since

    def seen(self, at: float, rate_th: float | None, words: str) -> Seen:
        """All of it for the judge."""
        return Seen(
            rate_th=rate_th,
            rate_before_th=self.rate_before_th,
            mode=self.mode,
            awake_mode=self.awake_mode,
            woken_s=None if self.woken_at is None else at - self.woken_at,
            mute_s=None if self.mute_since is None else at - self.mute_since,
            words=words,
        )


class Order(NamedTuple):
    """One change to make. raises: it may increase the load. prior: the mode its owner had set, as text."""

    raises: bool
    give_up_at: float
    urgent: bool
    prior: str | None = None
    restores: bool = False

    def target(self, awake_mode: str | None) -> tuple[str, str]:
        """The mode to write, and what is to be said of it. awake_mode: what we last saw it in, None when never."""
        if not self.raises:
            return SLEEP, ""
        known = [mode for mode in (self.prior, awake_mode) if mode is not None and is_mode(mode) and mode != SLEEP]
        if not known:
            return NORMAL, "woken in normal mode: nobody knows its earlier one"
        if LOW in known and not self.restores:  # its owner may have turned it down since the prior was noted
            return LOW, ""
        return known[0], ""
