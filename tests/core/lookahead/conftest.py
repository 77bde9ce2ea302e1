"""A dispatcher's desk at a site of ten miners."""

from __future__ import annotations

import pytest

from tests.core.lookahead.desk import Desk


@pytest.fixture
def desk(kit):
    return Desk(kit)
