"""How the power of a whole fleet moves, as arrays: one index per miner, no socket, no clock.

Curves are functions of the time since they began, so the size of `dt_s` does not change them. Sleep and profile changes
approach exponentially; a boot is S-shaped, with a small overshoot at the top.

`true_power_w` is what the feeder sees. `reported_*` is what the firmware tells: refreshed about once a second, off by a
bias fixed per miner and by a little noise on every sample.
"""

from typing import Final

import numpy as np

from simulators.asic.curves import BOOT_ENDS, EXPONENTIAL_ENDS, boot_fraction, exponential_fraction
from simulators.asic.response import Behaviour, Mode, Phase
from simulators.asic.spec import FleetSpec
from simulators.asic.traits import NONE, PROFILE, SLEEP, WAKE, Bools, Codes, FleetTraits, Floats, Ints, given

HASHRATE_MEAN_WINDOWS_S: Final = (60.0, 300.0, 900.0, 1800.0)
"""Windows of `hashrate_mean_th`, in the order of its columns."""

_HASHRATE_LAG_S: Final = 1.5
_TEMPERATURE_LAG_S: Final = 45.0
_AMBIENT_C: Final = 25.0
_RISE_AT_NAMEPLATE_C: Final = 40.0
_LAGS_S: Final = (np.array(_HASHRATE_LAG_S), np.array(_TEMPERATURE_LAG_S), np.array(HASHRATE_MEAN_WINDOWS_S)[:, None])
_REPORT_EVERY_S: Final = 1.0
_REVIVES_AFTER_S: Final = 5.0
_GIVES_UP_90_S: Final = 0.5  # how quickly a failed boot is back at sleep watts
_STARTS_BY_ITSELF: Final = int(Behaviour.REVIVES | Behaviour.NEVER_WAKES)


class FleetPhysics(FleetTraits):
    """Power, hash rate and temperature of every miner, moved on by `step`; `MinerBank` adds what one can command."""

    def __init__(self, spec: FleetSpec) -> None:
        super().__init__(spec)
        self.has_work: Final[Bools] = np.ones(self.count, dtype=bool)
        """Whether its pools answer. One without work idles by itself: boards on, nothing hashed, little drawn."""
        self._init_state(spec, self._traits_rng)

    def _init_state(self, spec: FleetSpec, traits: np.random.Generator) -> None:
        count = self.count
        defaults = [model.default_profile for model in self.models]
        self.profile_index: Ints = given(spec.profile_index, defaults, np.int64)
        if np.any((self.profile_index < 0) | (self.profile_index >= self.ladder_length)):
            raise ValueError("profile_index outside the model's ladder")
        # What a miner that loses its profile at a restart comes back with.
        self.configured_profile: Ints = np.array(defaults, dtype=np.int64)
        asleep = given(spec.asleep, [False] * count, np.bool_)
        self.mode: Codes = np.where(asleep, Mode.SLEEP, Mode.HASH).astype(np.int8)
        self.boards_on: Bools = ~asleep
        self.true_power_w: Floats = np.where(asleep, self.sleep_power_w, self._profile_power_w(self._all))
        self.hashrate_th: Floats = np.where(asleep, 0.0, self._profile_hashrate_th(self._all))
        self.temperature_c: Floats = _AMBIENT_C + _RISE_AT_NAMEPLATE_C * self.true_power_w / self.nameplate_w
        self.uptime_s: Floats = traits.uniform(3_600.0, 86_400.0, count)
        self.reboots: Ints = np.zeros(count, dtype=np.int64)  # how often: what a device forgets, it forgets then
        self._means_th: Floats = np.repeat(self.hashrate_th[None, :], len(HASHRATE_MEAN_WINDOWS_S), axis=0)
        self.hashrate_mean_th: Floats = self._means_th.T  # moved as rows: long ones are quick
        self._hashrate_goal_th: Floats = self.hashrate_th.copy()

        self._weights_for_s = -1.0
        self._weights: tuple[Floats, ...] = ()
        self._pending: Codes = np.zeros(count, dtype=np.int8)
        self._next_to_90_s: Floats = np.ones(count)
        self._dead_left_s: Floats = np.zeros(count)
        self._rebooting: Bools = np.zeros(count, dtype=np.bool_)
        self._feeder: Ints = given(spec.feeder, [0] * count, np.int64)
        self.boot_failed: Bools = np.zeros(count, dtype=np.bool_)  # says it is awake, at sleep watts
        self._tries_for_s: Floats = np.zeros(count)  # a failed boot burdens its supply as long as a boot
        self._luck: Floats = np.zeros(count)
        self._curve: Codes = np.zeros(count, dtype=np.int8)
        self._curve_s: Floats = np.zeros(count)
        self._to_90_s: Floats = np.ones(count)
        self._from_w: Floats = self.true_power_w.copy()
        self._to_w: Floats = self.true_power_w.copy()
        self._from_th: Floats = self.hashrate_th.copy()
        self._to_th: Floats = self.hashrate_th.copy()

        self.reported_power_w: Floats = np.zeros(count)
        self.reported_hashrate_th: Floats = np.zeros(count)
        self._report(self._all)
        # Miners refresh their reports out of step with one another.
        self._report_due_s: Floats = traits.uniform(0.0, _REPORT_EVERY_S, count)

    # --- read-outs ---------------------------------------------------------------------------------------------

    @property
    def is_asleep(self) -> Bools:
        """Boards off and at least 90 % of the way down to sleep watts - whatever the firmware says."""
        hashing_w = self._profile_power_w(self._all)
        near = self.true_power_w <= self.sleep_power_w + 0.1 * (hashing_w - self.sleep_power_w)
        return ~self.boards_on & ~self._rebooting & near

    @property
    def is_rebooting(self) -> Bools:
        """Miners that restart and answer nobody."""
        return self._rebooting

    @property
    def is_starting(self) -> Bools:
        """Miners whose start burdens their supply: told to, on the way to 90 % of their watts, or failed meanwhile."""
        booting = (self._curve == WAKE) & (self._curve_s < self._to_90_s)
        starting: Bools = (self._pending == WAKE) | booting | (self._tries_for_s > 0.0)
        return starting

    @property
    def phase(self) -> Codes:
        """One `Phase` code per miner."""
        phase = np.where(self.boards_on, Phase.STEADY, Phase.ASLEEP)
        phase = np.where(self._curve != NONE, Phase.RAMPING, phase)
        phase = np.where(self._pending != NONE, Phase.DEAD_TIME, phase)
        return np.where(self._rebooting, Phase.REBOOTING, phase).astype(np.int8)

    # --- time --------------------------------------------------------------------------------------------------

    def step(self, dt_s: float) -> None:
        """Move the whole fleet on by `dt_s` seconds. Raises ValueError for a negative step."""
        if dt_s < 0:
            raise ValueError(f"time runs forward, got dt_s={dt_s}")
        moving = self._curve.nonzero()[0]  # other than NONE
        self._curve_s[moving] += dt_s
        waiting = ((self._pending != NONE) | self._rebooting).nonzero()[0]
        if waiting.size:
            self._dead_left_s[waiting] -= dt_s
            due = waiting[self._dead_left_s[waiting] <= 0.0]
            if due.size:
                # Power where the old curve stands at the moment the new one begins, not at the end of this step.
                self._curve_s[due] += self._dead_left_s[due]
                self._follow_curves(due[self._curve[due] != NONE])
                self._fire(due)
                moving = self._curve.nonzero()[0]
        self._follow_curves(moving)
        self._lag(dt_s)
        self._tries_for_s -= dt_s
        self.uptime_s += dt_s
        self._report_due_s -= dt_s
        due_reports = (self._report_due_s <= 0.0).nonzero()[0]
        if due_reports.size:
            self._report(due_reports)
            overdue = self._report_due_s[due_reports]
            self._report_due_s[due_reports] = overdue + _REPORT_EVERY_S * (1.0 + np.floor(-overdue / _REPORT_EVERY_S))

    def _follow_curves(self, moving: Ints) -> None:
        if not moving.size:
            return
        progress = self._curve_s[moving] / self._to_90_s[moving]
        boots = self._curve[moving] == WAKE
        fraction = exponential_fraction(progress)
        done = progress >= EXPONENTIAL_ENDS
        if boots.any():
            fraction = np.where(boots, boot_fraction(progress, self._overshoot[moving]), fraction)
            done = np.where(boots, progress >= BOOT_ENDS, done)
        fraction[done] = 1.0
        start_w, start_th = self._from_w[moving], self._from_th[moving]
        self.true_power_w[moving] = start_w + (self._to_w[moving] - start_w) * fraction
        capped = np.minimum(fraction, 1.0)
        self._hashrate_goal_th[moving] = start_th + (self._to_th[moving] - start_th) * capped
        self._curve[moving[done]] = NONE

    def _lag(self, dt_s: float) -> None:
        """Hash rate trails power, temperature trails both, and the firmware's means trail the hash rate."""
        if dt_s != self._weights_for_s:  # most runs have one step size
            self._weights_for_s = dt_s
            self._weights = tuple(-np.expm1(-dt_s / lag) for lag in _LAGS_S)
        hashrate, temperature, means = self._weights
        self.hashrate_th += (self._hashrate_goal_th - self.hashrate_th) * hashrate
        settled_c = _AMBIENT_C + _RISE_AT_NAMEPLATE_C * self.true_power_w / self.nameplate_w
        self.temperature_c += (settled_c - self.temperature_c) * temperature
        self._means_th += (self.hashrate_th - self._means_th) * means

    def _report(self, indices: Ints) -> None:
        noise = self._report_rng.normal(0.0, self.spec.report_noise_sigma, (2, indices.size))
        hides = self._silent[indices] & ~self.boards_on[indices]
        drawn_w = np.where(hides, self.sleep_power_w[indices], self.true_power_w[indices])
        noise += 1.0
        self.reported_power_w[indices] = drawn_w * (1.0 + self.report_bias[indices]) * noise[0]
        # Below a thousandth of the ladder the lag has only rounding left: the firmware shows a plain zero.
        ladder_th = self.ladder_hashrate_th[indices, self.profile_index[indices]]
        rate_th = self.hashrate_th[indices]
        self.reported_hashrate_th[indices] = np.where(rate_th > 1e-3 * ladder_th, rate_th * noise[1], 0.0)

    # --- commands becoming curves ------------------------------------------------------------------------------

    def _fire(self, due: Ints) -> None:
        """The dead time of `due` has passed (`_dead_left_s` is how far, negated): leave for the new power."""
        late_s = -self._dead_left_s[due]
        kinds = self._pending[due]
        self._rebooting[due] = False
        self._pending[due] = NONE
        self._dead_left_s[due] = 0.0
        # Nothing pending: a reboot that ends in sleep, or in boards that never start again.
        down = (kinds == SLEEP) | (kinds == NONE)
        if down.any():
            self._power_down(due[down], late_s[down])
        up = kinds == WAKE
        if up.any():
            self._boot(due[up], late_s[up])
        trim = kinds == PROFILE
        if trim.any():
            self._trim(due[trim], late_s[trim])

    def _power_down(self, indices: Ints, late_s: Floats) -> None:
        self.boards_on[indices] = False
        to_w = np.where(self._silent[indices], self._profile_power_w(indices), self.sleep_power_w[indices])
        self._start_curve(indices, SLEEP, to_w, np.zeros(indices.size), self._next_to_90_s[indices], late_s)
        self._revive_later(indices)

    def _revive_later(self, stopped: Ints) -> None:
        """Who has a watchdog will be started by it. Nothing is drawn here: this happens in a step, not in a command."""
        indices = stopped[(self.behaviour[stopped] & _STARTS_BY_ITSELF) == Behaviour.REVIVES]
        self._pending[indices] = WAKE
        self._dead_left_s[indices] = _REVIVES_AFTER_S * self.response_scale[indices]
        place = self._quickness[indices, WAKE]
        self._next_to_90_s[indices] = self._to_90_percent[WAKE].at(indices, place) * self.response_scale[indices]

    def _boot(self, indices: Ints, late_s: Floats) -> None:
        failed = self._fails_in_the_crowd(indices)
        lost = indices[failed]
        self.boot_failed[lost] = True
        self._tries_for_s[lost] = self._next_to_90_s[lost] - late_s[failed]
        self._start_curve(
            lost,
            SLEEP,
            self.sleep_power_w[lost],
            np.zeros(lost.size),
            np.full(lost.size, _GIVES_UP_90_S),
            late_s[failed],
        )
        indices, late_s = indices[~failed], late_s[~failed]
        self.boards_on[indices] = True
        self.mode[indices[(self.behaviour[indices] & Behaviour.REVIVES) != 0]] = Mode.HASH
        forgetful = indices[self.loses_profile[indices]]
        self.profile_index[forgetful] = self.configured_profile[forgetful]
        to_w, to_th = self._profile_power_w(indices), self._profile_hashrate_th(indices)
        self._start_curve(indices, WAKE, to_w, to_th, self._next_to_90_s[indices], late_s)

    def _fails_in_the_crowd(self, indices: Ints) -> Bools:
        """Which of `indices`, whose boards start now, do not come up: by how many start on their feeder just now."""
        if self.spec.boot_crowd is None:
            return np.zeros(indices.size, dtype=np.bool_)
        starting = self.is_starting
        starting[indices] = True
        together = np.bincount(self._feeder[starting], minlength=int(self._feeder.max()) + 1)
        fails: Bools = self._luck[indices] >= self.spec.boot_crowd.share(together[self._feeder[indices]])
        return fails

    def _trim(self, indices: Ints, late_s: Floats) -> None:
        # A trim in the middle of a boot does not make the boot quicker.
        boot_left_s = np.where(self._curve[indices] == WAKE, self._to_90_s[indices] - self._curve_s[indices], 0.0)
        to_w, to_th = self._profile_power_w(indices), self._profile_hashrate_th(indices)
        to_90_s = np.maximum(self._next_to_90_s[indices], boot_left_s)
        self._start_curve(indices, PROFILE, to_w, to_th, to_90_s, late_s)

    def _start_curve(
        self, indices: Ints, kind: int, to_w: Floats, to_th: Floats, to_90_s: Floats, elapsed_s: Floats
    ) -> None:
        self._curve[indices] = kind
        self._curve_s[indices] = elapsed_s
        self._to_90_s[indices] = to_90_s
        self._from_w[indices] = self.true_power_w[indices]
        self._to_w[indices] = to_w
        self._from_th[indices] = self._hashrate_goal_th[indices]
        self._to_th[indices] = to_th

    def _begin_dead_time(self, indices: Ints, kind: int) -> None:
        """Every random number of a command is drawn here, when it arrives: the size of later steps plays no part."""
        if not indices.size:
            return
        self._pending[indices] = kind
        if kind == WAKE:
            self._try_anew(indices)
        self._dead_left_s[indices] = self._draw(indices, kind, self._dead_time[kind])
        self._next_to_90_s[indices] = self._draw(indices, kind, self._to_90_percent[kind])

    def _try_anew(self, indices: Ints) -> None:
        self.boot_failed[indices] = False
        if self.spec.boot_crowd is not None:
            self._luck[indices] = self._luck_rng.random(indices.size)

    def _profile_power_w(self, indices: Ints) -> Floats:
        """What each of `indices` draws at the profile it is set to, hashing or not; without work, idle watts."""
        power_w = self.ladder_power_w[indices, self.profile_index[indices]]
        return np.where(self.has_work[indices], power_w, self.idle_power_w[indices])

    def _profile_hashrate_th(self, indices: Ints) -> Floats:
        return self.ladder_hashrate_th[indices, self.profile_index[indices]] * self.has_work[indices]
