"""What can go wrong between us and one miner, in the order of docs/firmware.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from simulators.asic.models import Family
from simulators.faults import Fault


class Scene(StrEnum):
    """One kind of trouble; the value is its line in the table."""

    HEALTHY = "none"
    REFUSED = "port refused"
    BLACK_HOLE = "SYN vanishes"
    RESET = "reset after accept"
    SILENT = "accepts, never answers"
    SLOW_LORIS = "slow loris: begins an answer, never ends it"
    DRIP = "answer one byte at a time"
    KEEP_OPEN = "answers, keeps the connection open"
    GARBAGE = "garbage"
    TRUNCATED = "JSON cut off"
    HTTP_401 = "HTTP 401 to everything"
    HTTP_403 = "HTTP 403"
    HTTP_500 = "HTTP 500"
    EMPTY = "empty answer"
    WRONG_PASSWORD = "wrong password"
    EXPIRED = "session, token or nonce expired"
    TOKENS_FULL = "token table full"
    IGNORED = "acknowledges, does nothing"
    OBEYED_WITH_ERROR = "obeys, answers an error"
    REBOOT = "reboots in the middle"
    FOREIGN_SESSION = "another tool holds the session"
    DEVICE_ERROR = "device error to everything"


FAULT_OF: dict[Scene, Fault] = {
    Scene.REFUSED: Fault.REFUSE,
    Scene.BLACK_HOLE: Fault.BLACK_HOLE,
    Scene.RESET: Fault.RESET,
    Scene.SILENT: Fault.HANG,
    Scene.SLOW_LORIS: Fault.SLOW_LORIS,
    Scene.DRIP: Fault.DRIP,
    Scene.KEEP_OPEN: Fault.KEEP_OPEN,
    Scene.GARBAGE: Fault.GARBAGE,
    Scene.TRUNCATED: Fault.TRUNCATE,
    Scene.HTTP_401: Fault.HTTP_401,
    Scene.HTTP_403: Fault.HTTP_403,
    Scene.HTTP_500: Fault.HTTP_500,
    Scene.EMPTY: Fault.EMPTY_BODY,
    Scene.WRONG_PASSWORD: Fault.WRONG_PASSWORD,
    Scene.EXPIRED: Fault.STALE_SESSION,
    Scene.TOKENS_FULL: Fault.TOKENS_FULL,
    Scene.IGNORED: Fault.IGNORE,
    Scene.OBEYED_WITH_ERROR: Fault.OBEY_WITH_ERROR,
    Scene.REBOOT: Fault.REBOOT_ON_WRITE,
    Scene.FOREIGN_SESSION: Fault.FOREIGN_SESSION,
    Scene.DEVICE_ERROR: Fault.DEVICE_ERROR,
}

_HTTP = "no HTTP on this wire"
ABSENT: dict[tuple[Family, Scene], str] = {
    (Family.LUXOS, Scene.HTTP_401): _HTTP,
    (Family.LUXOS, Scene.HTTP_403): _HTTP,
    (Family.LUXOS, Scene.HTTP_500): _HTTP,
    (Family.LUXOS, Scene.WRONG_PASSWORD): "LuxOS asks for none",
    (Family.LUXOS, Scene.TOKENS_FULL): "LuxOS has one session and no tokens",
    (Family.WHATSMINER, Scene.HTTP_401): _HTTP,
    (Family.WHATSMINER, Scene.HTTP_403): _HTTP,
    (Family.WHATSMINER, Scene.HTTP_500): _HTTP,
    (Family.ANTMINER, Scene.TOKENS_FULL): "stock Antminers have no tokens",
}
"""Faults that a family cannot have, with the reason."""

DRIP_APART_S = 0.0
"""Quick enough for a whole answer within the deadline: this fault is about pieces, the slow loris is about time."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One line of one family's table, met by an urgent sleep (a shed) or by a plain one."""

    family: Family
    scene: Scene
    urgent: bool

    def __str__(self) -> str:
        return f"{self.family.name.lower()}-{self.scene.name.lower()}-{'shed' if self.urgent else 'sleep'}"


def all_cases() -> tuple[Case, ...]:
    """Every family times every fault it can have, shed first."""
    return tuple(
        Case(family, scene, urgent)
        for family in Family
        for scene in Scene
        if (family, scene) not in ABSENT
        for urgent in (True, False)
    )
