"""A dispatcher's desk at an empty order book."""

from __future__ import annotations

import pytest

from tests.core.orders.desk import Desk


@pytest.fixture
def desk(kit):
    return Desk(kit)
