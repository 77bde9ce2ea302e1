"""A container of 300 miners whose one feeder carries so many starts at once, let back in with waves and without.

`python -m tests.rig.container` prints the table of docs/results.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np

from controller.domain.command import Verb
from simulators.asic.crowd import BootCrowd
from simulators.asic.models import LUXOS_MODELS, MODELS
from simulators.asic.spec import FleetSpec
from tests.rig.fleet import core_fleet
from tests.rig.large import large_setup
from tests.rig.policy import WAVES, Rules, site_policy
from tests.rig.setup import TICK_S, Setup
from tests.rig.site import Site
from tests.rig.surplus import Steps

MINERS = 300
RESTORED = 0.95
POWER_AT_S = 60.0
MINUTES = (1, 2, 5, 10, 30)
# A site that may step: what holds its boots back is the waves alone.
FREE = Rules(ramp_up_ratio_per_min=20.0, step_15s_ratio=5.0, dwell_on_s=0.0, dwell_off_s=0.0, wakes_per_cycle=MINERS)


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one container. shares: of it hashing 1, 2, 5, 10 and 30 min after there was power for all.
    at_95_s: seconds until 95 % of it hashed, None never. most_starting: the most that were starting at once."""

    shares: tuple[float, ...]
    at_95_s: float | None
    most_starting: int
    quarantined: int
    stops: int
    wakes: int


def container(
    *, waves: bool, seed: int = 1, miners: int = MINERS, seconds: float = 1860.0, carries: int | None = None
) -> Setup:
    """Everybody asleep, and a surplus for all of them from second 60 on."""
    base = large_setup(miners, seconds)
    model = MODELS[LUXOS_MODELS[0]]
    feeders = len(base.plant.site.feeders)
    crowd = BootCrowd() if carries is None else BootCrowd(carries)
    fleet = FleetSpec(models=[model] * miners, seed=seed, asleep=[True] * miners, boot_crowd=crowd)
    rated_w = miners * model.nameplate.power_w
    scale = rated_w / base.policy.rated_w
    facts = core_fleet(fleet.models, [0] * miners, [round(1.1 * rated_w)] * feeders)
    rules = replace(FREE, waves=replace(WAVES, enabled=waves))
    policy = site_policy(
        rated_w=rated_w,
        auxiliary_w=base.policy.auxiliary_w,
        power_span_w=8 * rated_w,
        fleet_size=miners,
        rules=rules,
    )
    (unit,) = base.plant.units
    grown = replace(
        unit,
        available_w=unit.available_w * scale,
        min_stable_w=unit.min_stable_w * scale,
        ramp_w_per_s=unit.ramp_w_per_s * scale,
    )
    return replace(
        base,
        name="container",
        seed=seed,
        facts=facts,
        policy=policy,
        fleet=fleet,
        feeder_of_miner=(0,) * miners,
        plant=replace(base.plant, units=(grown,), despatch_base_w=base.plant.despatch_base_w * scale),
        surplus=Steps((0.0, POWER_AT_S, POWER_AT_S + 1.0, seconds), (0.0, 0.0, 1.1 * rated_w, 1.1 * rated_w)),
    )


def restored(setup: Setup) -> Restored:
    """Run it."""
    site = Site(setup)
    share: list[float] = []
    most = 0
    while site.now_s < setup.duration_s - 1e-6:
        site.advance()
        share.append(float(site.bank.boards_on.mean()))
        most = max(most, int(site.bank.is_starting.sum()))
    after = np.array(share[round(POWER_AT_S / TICK_S) :])
    reached = np.flatnonzero(after >= RESTORED)
    record = site.record
    return Restored(
        shares=tuple(float(after[min(round(60.0 * minutes / TICK_S), len(after) - 1)]) for minutes in MINUTES),
        at_95_s=TICK_S * float(reached[0]) if len(reached) else None,
        most_starting=most,
        quarantined=int((site.state.fleet.quarantines > 0).sum()),
        stops=sum(name == "restore_stopped" for _, name, _, _ in record.events),
        wakes=sum(one.verb is Verb.WAKE for row in record.cycles for one in row.commands),
    )


def main() -> None:
    """Run both and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    heads = " | ".join(f"{minutes} min" for minutes in MINUTES)
    print(f"| waves | seed | {heads} | 95 % after | most starting | quarantined | stops | wakes |")
    print("|---|---:|" + "---:|" * (len(MINUTES) + 5))
    for waves in (False, True):
        for seed in range(1, given.seeds + 1):
            found = restored(container(waves=waves, seed=seed))
            shares = " | ".join(f"{100.0 * share:.0f} %" for share in found.shares)
            at_95 = "never" if found.at_95_s is None else f"{found.at_95_s:.0f} s"
            print(
                f"| {'on' if waves else 'off'} | {seed} | {shares} | {at_95} | {found.most_starting} "
                f"| {found.quarantined} | {found.stops} | {found.wakes} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
