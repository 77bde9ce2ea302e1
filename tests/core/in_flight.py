"""Commands put in flight by hand."""

from __future__ import annotations

import numpy as np

from controller.core import flight


def launch(kit, verb, hashing, to_w, now=100.0):
    """One miner with one command in flight since `now`."""
    facts = kit.fleet(1)
    state = kit.seen_state(facts, [hashing])
    put(facts, state, [0], verb, [to_w], now)
    return facts, state


def put(facts, state, miners, verb, to_w, now):
    flight.put_in_flight(
        facts, state, np.array(miners), verb, np.array(to_w, dtype=float), now, np.full(len(miners), 60.0)
    )
