"""Ready-made fleets: a mix of models, some asleep, some that do not behave."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from simulators.asic.models import LUXOS_MODELS, MODELS, MinerModel
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec

ALL_MODELS: Final = tuple(MODELS)


def mixed_fleet(
    count: int,
    *,
    seed: int,
    model_keys: Sequence[str] = LUXOS_MODELS,
    asleep: int = 0,
    liars: int = 0,
    never_wakers: int = 0,
    refusers: int = 0,
) -> FleetSpec:
    """A fleet of `count` miners, models dealt in turn from `model_keys`.

    The `asleep` least efficient ones start asleep, as a site that curtails in merit order would leave them.
    Never-wakers are drawn from the sleepers as far as there are some: elsewhere they would not show. Liars and refusers
    are drawn from the rest, all by `seed`, nobody twice. Raises ValueError for an unknown model or more odd ones than
    miners.
    """
    unknown = set(model_keys) - set(MODELS)
    if unknown or not model_keys:
        raise ValueError(f"unknown models {sorted(unknown)}; there are {', '.join(MODELS)}")
    odd = liars + never_wakers + refusers
    if min(count, asleep, liars, never_wakers, refusers) < 0 or max(odd, asleep) > count:
        raise ValueError(f"{asleep} asleep and {odd} misbehaving do not fit into {count} miners")
    models: list[MinerModel] = [MODELS[model_keys[i % len(model_keys)]] for i in range(count)]
    worst_first = sorted(range(count), key=lambda i: (-models[i].efficiency_j_per_th, i))
    sleepers = set(worst_first[:asleep])

    rng = np.random.default_rng(seed)
    order = [int(i) for i in rng.permutation(count)]
    order.sort(key=lambda i: i not in sleepers)  # stable: sleepers first, each group still in random order
    behaviours = [Behaviour.OBEYS] * count
    for i in order[:never_wakers]:
        behaviours[i] = Behaviour.NEVER_WAKES
    rest = [int(i) for i in rng.permutation(order[never_wakers:])]
    for i in rest[:liars]:
        behaviours[i] = Behaviour.LIAR_SLEEP
    for i in rest[liars : liars + refusers]:
        behaviours[i] = Behaviour.REFUSES
    return FleetSpec(models=models, seed=seed, asleep=[i in sleepers for i in range(count)], behaviours=behaviours)


def behaviour_name(behaviour: int) -> str:
    """`obeys`, `liar-sleep`, or several joined by `+`."""
    names = [flag.name.lower().replace("_", "-") for flag in Behaviour if flag & behaviour and flag.name is not None]
    return "+".join(names) or "obeys"
