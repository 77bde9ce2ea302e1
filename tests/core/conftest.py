"""The builders of the pure core's tests and the hand-cranked site, as one fixture."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from controller.domain.fleet import Fleet
from controller.domain.policy import Policy
from tests.core.builders import Builders
from tests.core.site import Site

# Assertions in shared code speak as those of a test do.
pytest.register_assert_rewrite("tests.core.failsafe_cells")


class Kit(Builders):
    @staticmethod
    def site(
        policy: Policy | None = None,
        facts: Fleet | None = None,
        *,
        hashing: Iterable[bool] = (True, True, False, False),
        surplus_w: float = 20_000.0,
    ) -> Site:
        return Site(policy or Kit.policy(), facts or Kit.fleet(), list(hashing), surplus_w)


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
