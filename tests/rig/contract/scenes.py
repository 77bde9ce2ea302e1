"""What can go wrong between us and one miner, in the order of docs/firmware.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from controller.domain.command import Verb
from simulators.asic.models import Family
from simulators.faults import Fault

DEADLINE_S = 1.0
"""Of every call unless the scene says otherwise: long beside what a healthy answer takes on a busy machine."""


class Scope(StrEnum):
    """What a scene's fault bites; the value is the heading of its table."""

    ALL = "whatever is asked"
    WRITE = "the write itself"


class Scene(Enum):
    """One kind of trouble: its line in the table, and what its fault bites."""

    HEALTHY = "none", Scope.ALL
    REFUSED = "port refused", Scope.ALL
    BLACK_HOLE = "SYN vanishes", Scope.ALL
    RESET = "reset after accept", Scope.ALL
    SILENT = "accepts, never answers", Scope.ALL
    SLOW_LORIS = "slow loris: begins an answer, never ends it", Scope.ALL
    DRIP = "answer one byte at a time", Scope.ALL
    KEEP_OPEN = "answers, keeps the connection open", Scope.ALL
    LATE = "answers late, within the deadline", Scope.ALL
    TOO_LATE = "answers later than the deadline", Scope.ALL
    GARBAGE = "garbage", Scope.ALL
    TRUNCATED = "JSON cut off", Scope.ALL
    HTTP_401 = "HTTP 401 to everything", Scope.ALL
    HTTP_403 = "HTTP 403", Scope.ALL
    HTTP_500 = "HTTP 500", Scope.ALL
    EMPTY = "empty answer", Scope.ALL
    WRONG_PASSWORD = "wrong password", Scope.ALL
    EXPIRED = "session, token or nonce expired", Scope.ALL
    TOKENS_FULL = "token table full, a token in hand", Scope.ALL
    TOKENS_FULL_COLD = "token table full, none in hand", Scope.ALL
    FOREIGN_SESSION = "another tool holds the session", Scope.ALL
    DEVICE_ERROR = "device error to everything", Scope.ALL
    IGNORED = "acknowledged, nothing done", Scope.WRITE
    SESSION_ERROR = "session or token error that stays", Scope.WRITE
    REBOOT = "reboots in the middle, the write is lost", Scope.WRITE
    LOST_RESET = "lost, then reset", Scope.WRITE
    LOST_SILENT = "lost, never answered", Scope.WRITE
    LOST_500 = "lost, HTTP 500", Scope.WRITE
    OBEYED_WITH_ERROR = "carried out, answered by an error", Scope.WRITE
    OBEYED_RESET = "carried out, then reset", Scope.WRITE
    OBEYED_SILENT = "carried out, never answered", Scope.WRITE
    OBEYED_SLOW_LORIS = "carried out, the answer never ends", Scope.WRITE
    OBEYED_TOO_LATE = "carried out, answered after the deadline", Scope.WRITE
    OBEYED_GARBAGE = "carried out, garbage", Scope.WRITE
    OBEYED_TRUNCATED = "carried out, answer cut off", Scope.WRITE
    OBEYED_EMPTY = "carried out, empty answer", Scope.WRITE
    OBEYED_403 = "carried out, HTTP 403", Scope.WRITE
    OBEYED_500 = "carried out, HTTP 500", Scope.WRITE
    SLOW_WRITE = "takes longer than a shed waits", Scope.WRITE
    SLOWER_WRITE = "takes longer than the deadline", Scope.WRITE

    def __init__(self, line: str, scope: Scope) -> None:
        self.line = line
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Switch:
    """One fault of a scene, as `FaultSet.on` takes it."""

    fault: Fault
    seconds: float | None = None
    writes_only: bool = False


def _of_answer(fault: Fault, seconds: float | None = None) -> tuple[Switch, ...]:
    return (Switch(fault, seconds, writes_only=True),)


def _lost(fault: Fault) -> tuple[Switch, ...]:
    return Switch(Fault.IGNORE), Switch(fault, writes_only=True)


TROUBLE: dict[Scene, tuple[Switch, ...]] = {
    Scene.REFUSED: (Switch(Fault.REFUSE),),
    Scene.BLACK_HOLE: (Switch(Fault.BLACK_HOLE),),
    Scene.RESET: (Switch(Fault.RESET),),
    Scene.SILENT: (Switch(Fault.HANG),),
    Scene.SLOW_LORIS: (Switch(Fault.SLOW_LORIS),),
    # Quick enough for a whole answer within the deadline: this fault is about pieces, the slow loris is about time.
    Scene.DRIP: (Switch(Fault.DRIP, 0.0),),
    Scene.KEEP_OPEN: (Switch(Fault.KEEP_OPEN),),
    Scene.LATE: (Switch(Fault.DELAY, 0.5),),
    Scene.TOO_LATE: (Switch(Fault.DELAY, 1.5 * DEADLINE_S),),
    Scene.GARBAGE: (Switch(Fault.GARBAGE),),
    Scene.TRUNCATED: (Switch(Fault.TRUNCATE),),
    Scene.HTTP_401: (Switch(Fault.HTTP_401),),
    Scene.HTTP_403: (Switch(Fault.HTTP_403),),
    Scene.HTTP_500: (Switch(Fault.HTTP_500),),
    Scene.EMPTY: (Switch(Fault.EMPTY_BODY),),
    Scene.WRONG_PASSWORD: (Switch(Fault.WRONG_PASSWORD),),
    Scene.EXPIRED: (Switch(Fault.STALE_SESSION),),
    Scene.TOKENS_FULL: (Switch(Fault.TOKENS_FULL),),
    Scene.TOKENS_FULL_COLD: (Switch(Fault.TOKENS_FULL),),
    Scene.FOREIGN_SESSION: (Switch(Fault.FOREIGN_SESSION),),
    Scene.DEVICE_ERROR: (Switch(Fault.DEVICE_ERROR),),
    Scene.IGNORED: (Switch(Fault.IGNORE),),
    Scene.SESSION_ERROR: (Switch(Fault.SESSION_ERROR),),
    Scene.REBOOT: (Switch(Fault.REBOOT_ON_WRITE),),
    Scene.LOST_RESET: _lost(Fault.RESET),
    Scene.LOST_SILENT: _lost(Fault.HANG),
    Scene.LOST_500: _lost(Fault.HTTP_500),
    Scene.OBEYED_WITH_ERROR: (Switch(Fault.OBEY_WITH_ERROR),),
    Scene.OBEYED_RESET: _of_answer(Fault.RESET),
    Scene.OBEYED_SILENT: _of_answer(Fault.HANG),
    Scene.OBEYED_SLOW_LORIS: _of_answer(Fault.SLOW_LORIS),
    Scene.OBEYED_TOO_LATE: _of_answer(Fault.DELAY, 1.5 * DEADLINE_S),
    Scene.OBEYED_GARBAGE: _of_answer(Fault.GARBAGE),
    Scene.OBEYED_TRUNCATED: _of_answer(Fault.TRUNCATE),
    Scene.OBEYED_EMPTY: _of_answer(Fault.EMPTY_BODY),
    Scene.OBEYED_403: _of_answer(Fault.HTTP_403),
    Scene.OBEYED_500: _of_answer(Fault.HTTP_500),
}
"""The faults of each scene; a healthy miner has none, one that writes slowly is built so (`WRITE_S`)."""

WRITE_S: dict[Scene, float] = {Scene.SLOW_WRITE: 2.0, Scene.SLOWER_WRITE: 1.6}
"""Seconds a stock Antminer takes over its configuration; 5 to 21 are published."""

_DEADLINE_S: dict[Scene, float] = {Scene.LATE: 3.5, Scene.SLOW_WRITE: 2.6}
"""Where another is needed: for up to five late answers in turn, and to see that a shed waits 1.5 s for the answer to a
configuration, however long its deadline."""

_HTTP = "no HTTP on this wire"
_OWN_WRITE = "only stock Antminers take their time over a write"
_LUXOS_TOKENS = "LuxOS has one session and no tokens"
_ANTMINER_TOKENS = "stock Antminers have no tokens"
_HTTP_SCENES = (Scene.HTTP_401, Scene.HTTP_403, Scene.HTTP_500, Scene.LOST_500, Scene.OBEYED_403, Scene.OBEYED_500)
ABSENT: dict[tuple[Family, Scene], str] = {
    **{(family, scene): _HTTP for family in (Family.LUXOS, Family.WHATSMINER) for scene in _HTTP_SCENES},
    **{(family, scene): _OWN_WRITE for family in (Family.LUXOS, Family.WHATSMINER) for scene in WRITE_S},
    (Family.LUXOS, Scene.WRONG_PASSWORD): "LuxOS asks for none",
    (Family.LUXOS, Scene.TOKENS_FULL): _LUXOS_TOKENS,
    (Family.LUXOS, Scene.TOKENS_FULL_COLD): _LUXOS_TOKENS,
    (Family.ANTMINER, Scene.TOKENS_FULL): _ANTMINER_TOKENS,
    (Family.ANTMINER, Scene.TOKENS_FULL_COLD): _ANTMINER_TOKENS,
}
"""Faults that a family cannot have, with the reason."""


class Order(Enum):
    """What the miner is told while the fault is there: a shed is an urgent sleep."""

    SHED = Verb.SLEEP, True
    SLEEP = Verb.SLEEP, False
    WAKE = Verb.WAKE, False

    def __init__(self, verb: Verb, urgent: bool) -> None:
        self.verb = verb
        self.urgent = urgent


@dataclass(frozen=True, slots=True)
class Case:
    """One line of one family's table, met by one order."""

    family: Family
    scene: Scene
    order: Order

    def __str__(self) -> str:
        return f"{self.family.name.lower()}-{self.scene.name.lower()}-{self.order.name.lower()}"

    @property
    def deadline_s(self) -> float:
        """What the driver is given for a call."""
        return _DEADLINE_S.get(self.scene, DEADLINE_S)

    @property
    def connections_kept(self) -> int:
        """How many connections may stay open: one to the web interface, and one on which a write is unanswered."""
        return _KEPT.get(self.family, 0) + ((self.family, self.scene) in _UNANSWERED)


_KEPT = {Family.ANTMINER: 1}
_UNANSWERED = {(Family.ANTMINER, Scene.LOST_SILENT), (Family.ANTMINER, Scene.OBEYED_SILENT)}


def all_cases() -> tuple[Case, ...]:
    """Every family times every fault it can have times every order."""
    return tuple(
        Case(family, scene, order)
        for family in Family
        for scene in Scene
        if (family, scene) not in ABSENT
        for order in Order
    )
