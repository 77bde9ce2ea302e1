"""Ready-made fleets: a mix of models, some asleep, some that do not behave."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from simulators.asic.models import LUXOS_MODELS, MODELS, Family, MinerModel, keys_of
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec

ALL_MODELS: Final = tuple(MODELS)
"""Every model of every family."""


def keys_by_share(count: int, shares: Mapping[Family, float]) -> tuple[str, ...]:
    """Model keys for `count` miners, families mixed evenly by their shares, the models of a family dealt in turn.

    Shares are relative: 40, 35 and 25 are the same as 0.40, 0.35 and 0.25. Raises ValueError for a negative share and
    when there is none above zero.
    """
    total = sum(shares.values())
    if total <= 0 or min(shares.values()) < 0:
        raise ValueError("shares of families must not be negative, and one must be above zero")
    dealt = dict.fromkeys(shares, 0)
    keys: list[str] = []
    for place in range(1, count + 1):
        family = max(shares, key=lambda each: place * shares[each] / total - dealt[each])
        models = keys_of(family)
        keys.append(models[dealt[family] % len(models)])
        dealt[family] += 1
    return tuple(keys)


def mixed_fleet(
    count: int,
    *,
    seed: int,
    model_keys: Sequence[str] = LUXOS_MODELS,
    asleep: int = 0,
    liars: int = 0,
    never_wakers: int = 0,
    refusers: int = 0,
    ignorers: int = 0,
    revivers: int = 0,
    silent_drawers: int = 0,
) -> FleetSpec:
    """A fleet of `count` miners, models dealt in turn from `model_keys`; see `keys_by_share` for a mix of families.

    The `asleep` least efficient ones start asleep, as a site that curtails in merit order would leave them.
    Never-wakers are drawn from the sleepers as far as there are some: elsewhere they would not show. The others are
    drawn from the rest, all by `seed`, nobody twice. Raises ValueError for an unknown model or more odd ones than
    miners.
    """
    unknown = set(model_keys) - set(MODELS)
    if unknown or not model_keys:
        raise ValueError(f"unknown models {sorted(unknown)}; there are {', '.join(MODELS)}")
    others = {
        Behaviour.LIAR_SLEEP: liars,
        Behaviour.REFUSES: refusers,
        Behaviour.IGNORES: ignorers,
        Behaviour.REVIVES: revivers,
        Behaviour.SILENT_DRAW: silent_drawers,
    }
    odd = never_wakers + sum(others.values())
    if min(count, asleep, never_wakers, *others.values()) < 0 or max(odd, asleep) > count:
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
    rest = iter(int(i) for i in rng.permutation(order[never_wakers:]))
    for behaviour, wanted in others.items():
        for i in itertools.islice(rest, wanted):
            behaviours[i] = behaviour
    return FleetSpec(models=models, seed=seed, asleep=[i in sleepers for i in range(count)], behaviours=behaviours)


def behaviour_name(behaviour: int) -> str:
    """`obeys`, `liar-sleep`, or several joined by `+`."""
    names = [flag.name.lower().replace("_", "-") for flag in Behaviour if flag & behaviour and flag.name is not None]
    return "+".join(names) or "obeys"
