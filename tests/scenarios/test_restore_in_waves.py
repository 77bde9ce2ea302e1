"""A container whose supply carries 97 starts at once, as the field's figures have it: in waves it comes up whole."""

from __future__ import annotations

import pytest

from tests.rig.container import container, restored


@pytest.fixture(scope="module")
def in_waves():
    return restored(container(waves=True, seconds=240.0))


@pytest.fixture(scope="module")
def in_a_crowd():
    return restored(container(waves=False, seconds=240.0))


def test_in_waves_95_percent_of_300_hash_within_three_minutes(in_waves):
    assert in_waves.at_95_s is not None
    assert in_waves.at_95_s <= 150.0
    assert in_waves.quarantined == 0


def test_all_at_once_a_third_comes_up_at_every_try_and_the_rest_is_given_up(in_a_crowd):
    assert in_a_crowd.most_starting == 300
    assert in_a_crowd.at_95_s is None
    assert in_a_crowd.shares[0] < 0.75
    assert in_a_crowd.quarantined >= 60
