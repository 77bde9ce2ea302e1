"""What one can command of a fleet of simulated miners, over the physics of all of them.

A command does not move power at once. It starts a *dead time*; when that has passed the miner leaves its present power
on a curve towards the new one. What ran before keeps running through the dead time, and a later command replaces one
whose dead time has not passed.
"""

from typing import Final

import numpy as np

from simulators.asic.physics import FleetPhysics
from simulators.asic.response import Answer, Behaviour, Mode
from simulators.asic.traits import NONE, PROFILE, SLEEP, WAKE, Bools, Codes, Ints

_DEAF: Final = int(Behaviour.REFUSES | Behaviour.IGNORES)
_STOP_90_S: Final = 0.5  # how quickly watts go when the process is cut off
_INRUSH_90_S: Final = 0.2  # and how quickly a control board and its fans have theirs


class MinerBank(FleetPhysics):
    """Power, hash rate and temperature of every miner, moved on by `step`.

    Arrays are indexed by miner. Read them freely; write only through the verbs. Same spec and same sequence of calls
    give the same numbers to the last bit.
    """

    def command_sleep(self, i: int) -> Answer:
        """Tell miner `i` to stop hashing and switch its power supply off. Repeating it changes nothing."""
        return Answer(int(self.command_sleep_many(np.array([i]))[0]))

    def command_wake(self, i: int) -> Answer:
        """Tell miner `i` to hash again at its profile. Repeating it changes nothing."""
        return Answer(int(self.command_wake_many(np.array([i]))[0]))

    def command_profile(self, i: int, profile_index: int) -> Answer:
        """Set the profile of miner `i`; asleep, it applies at the next wake. Raises ValueError outside the ladder."""
        return Answer(int(self.command_profile_many(np.array([i]), np.array([profile_index]))[0]))

    def command_restart(self, i: int, profile_index: int | None = None, *, asleep: bool | None = None) -> Answer:
        """Restart the mining process of miner `i` with another configuration, None for what stays as it is.

        Unlike a reboot it leaves the network part reachable. Hashing stops at once, and after a dead time the miner
        boots to its profile; one configured to sleep goes down as by `command_sleep`. Repeating it restarts it again.
        Raises ValueError for a profile outside the ladder.
        """
        if profile_index is not None and not 0 <= profile_index < self.ladder_length[i]:
            raise ValueError("profile index outside the model's ladder")
        answers, one = self._answers(np.array([i]))
        if one.size:
            if profile_index is not None:
                self.profile_index[i] = self.configured_profile[i] = profile_index
            if asleep is not None:
                self.mode[i] = Mode.SLEEP if asleep else Mode.HASH
            self._restart(one)
        return Answer(int(answers[0]))

    def command_sleep_many(self, indices: Ints) -> Codes:
        """As `command_sleep` for every index, each at most once; returns one `Answer` code per index."""
        answers, listening = self._answers(indices)
        fresh = listening[self.mode[listening] != Mode.SLEEP]
        self.mode[fresh] = Mode.SLEEP
        # A liar that boots is not stopped either: it finishes booting and hashes on.
        honest = fresh[(self.behaviour[fresh] & Behaviour.LIAR_SLEEP) == 0]
        up = honest[self.boards_on[honest]]
        self._begin_dead_time(up, SLEEP)
        # Not started yet: there is nothing to stop but the pending start.
        down = honest[~self.boards_on[honest]]
        self._pending[down] = NONE
        waiting = down[~self._rebooting[down]]
        self._begin_dead_time(waiting[self._to_w[waiting] > self.sleep_power_w[waiting]], SLEEP)  # from idle watts
        self._revive_later(waiting[self._pending[waiting] == NONE])
        return answers

    def command_wake_many(self, indices: Ints) -> Codes:
        """As `command_wake` for every index, each at most once; returns one `Answer` code per index."""
        answers, listening = self._answers(indices)
        fresh = listening[(self.mode[listening] != Mode.HASH) | self.boot_failed[listening]]
        self.mode[fresh] = Mode.HASH
        up = fresh[self.boards_on[fresh]]
        # Boards still on: the sleep had not begun, or the miner lied about it. A profile set meanwhile is still due.
        self._pending[up[self._pending[up] == SLEEP]] = NONE
        behind = up[(self._pending[up] == NONE) & (self._to_w[up] != self._profile_power_w(up))]
        self._begin_dead_time(behind, PROFILE)
        down = fresh[~self.boards_on[fresh]]
        able = down[(self.behaviour[down] & Behaviour.NEVER_WAKES) == 0]
        rebooting = self._rebooting[able]
        self._pending[able[rebooting]] = WAKE  # it starts when the reboot is through
        self._begin_dead_time(able[~rebooting], WAKE)
        return answers

    def command_profile_many(self, indices: Ints, profile_indices: Ints) -> Codes:
        """As `command_profile` for every pair, each miner at most once; returns one `Answer` code per index."""
        if np.any((profile_indices < 0) | (profile_indices >= self.ladder_length[indices])):
            raise ValueError("profile index outside the model's ladder")
        answers, listening = self._answers(indices)
        wanted = profile_indices[self._listens(indices)]
        changed = self.profile_index[listening] != wanted
        self.profile_index[listening] = wanted
        moving = listening[changed & self.boards_on[listening]]
        # A pending sleep wins over a change of pace.
        self._begin_dead_time(moving[self._pending[moving] != SLEEP], PROFILE)
        return answers

    def reboot(self, i: int) -> Answer:
        """Restart miner `i`: off and unreachable for a while, then as its mode says.

        Mode and profile survive, unless the model loses them.
        """
        answers, one = self._answers(np.array([i]))
        if not one.size:
            return Answer(int(answers[0]))
        self._start_cold(i, _STOP_90_S)
        return Answer.ACKNOWLEDGED

    def lose_power(self, i: int) -> None:
        """Cut miner `i` off: nothing is drawn and nobody answers until `get_power`. No behaviour is asked."""
        one = np.array([i])
        self.boards_on[one] = False
        self._rebooting[one] = True
        self._pending[one] = self._curve[one] = NONE
        self._dead_left_s[one] = np.inf
        self.true_power_w[one] = self._from_w[one] = self._to_w[one] = 0.0
        self.hashrate_th[one] = self._hashrate_goal_th[one] = self._from_th[one] = self._to_th[one] = 0.0

    def get_power(self, i: int) -> None:
        """Power is back: miner `i` starts by itself, as from a reboot. Nothing happens to one that never lost it."""
        if np.isinf(self._dead_left_s[i]):
            self._start_cold(i, _INRUSH_90_S)

    def set_work(self, indices: Ints, has_work: bool) -> None:
        """The pools of `indices` are gone, or back. No behaviour is asked; each follows after its own time."""
        changed = indices[self.has_work[indices] != has_work]
        self.has_work[changed] = has_work
        self._begin_dead_time(changed[self.boards_on[changed] & (self._pending[changed] == NONE)], PROFILE)

    def _start_cold(self, i: int, to_idle_90_s: float) -> None:
        """Off and unreachable for a while, then as its mode says."""
        one = np.array([i])
        if self.loses_sleep[i] and not self.behaviour[i] & Behaviour.NEVER_WAKES:
            self.mode[i] = Mode.HASH
        starts_again = self.mode[i] == Mode.HASH or bool(self.behaviour[i] & Behaviour.LIAR_SLEEP)
        ends_as = WAKE if starts_again and not self.behaviour[i] & Behaviour.NEVER_WAKES else NONE
        self._try_anew(one)
        off_s = self._draw(one, WAKE, self._reboot_off)
        self._next_to_90_s[one] = self._draw(one, WAKE, self._to_90_percent[WAKE])
        power_w = self.idle_power_w if starts_again else self.sleep_power_w
        self._start_curve(one, SLEEP, power_w[one], np.zeros(1), np.full(1, to_idle_90_s), np.zeros(1))
        self.boards_on[i] = False
        self._rebooting[i] = True
        self._pending[i] = ends_as
        self._dead_left_s[i] = off_s[0]
        self.uptime_s[i] = 0.0
        self.reboots[i] += 1

    def _restart(self, one: Ints) -> None:
        """The process of a single miner starts anew, as its mode and behaviour have it."""
        sleeps = bool(self.mode[one[0]] == Mode.SLEEP)
        behaviour = int(self.behaviour[one[0]])
        if sleeps and behaviour & Behaviour.LIAR_SLEEP:
            return  # it says so and hashes on
        starts = not sleeps and not behaviour & Behaviour.NEVER_WAKES
        if self._rebooting[one[0]]:
            self._pending[one] = WAKE if starts else NONE  # the reboot ends in what is configured now
            return
        self.uptime_s[one] = 0.0
        if sleeps:
            self._begin_dead_time(one, SLEEP)
            return
        if self.boards_on[one[0]]:
            self.boards_on[one] = False
            self._start_curve(one, SLEEP, self.idle_power_w[one], np.zeros(1), np.full(1, _STOP_90_S), np.zeros(1))
        self._begin_dead_time(one, WAKE)
        if not starts:
            self._pending[one] = SLEEP

    def _listens(self, indices: Ints) -> Bools:
        listens: Bools = (self.behaviour[indices] & _DEAF) == 0
        return listens

    def _answers(self, indices: Ints) -> tuple[Codes, Ints]:
        """One answer per index, and the indices that take the command."""
        refused = (self.behaviour[indices] & Behaviour.REFUSES) != 0
        answers = np.where(refused, Answer.REFUSED, Answer.ACKNOWLEDGED).astype(np.int8)
        return answers, indices[self._listens(indices)]
