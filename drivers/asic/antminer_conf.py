"""Read-modify-write of a stock Antminer's configuration: only the work mode changes. Pure.

`get_miner_conf.cgi` and `set_miner_conf.cgi` speak of the same things under different names. The set script writes the
whole file anew from what it is sent, and what it does about a key that is missing differs between versions (most keep
what was there, `bitmain-user-ip-cat` is dropped, one version resets the fans), so that everything the miner told goes
back to it: under the name the script reads, and what no version on record reads under the name it was told by.

The script is a shell script. It takes the body apart at blanks and swallows backslashes (`read` without `-r`, unquoted
variables), and what is left of a pool is written to flash. A body with either is refused rather than sent; so JSON is
written as compact UTF-8 without escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SLEEP: Final = "1"
NORMAL: Final = "0"
LOW: Final = "3"

_MODE_READ: Final = "bitmain-work-mode"
_MODE_WRITTEN: Final = "miner-mode"
_MODE_KEYS: Final = (_MODE_READ, _MODE_WRITTEN)

_RENAMED: Final = {"bitmain-freq-level": "freq-level"}
_FIRST: Final = ("bitmain-fan-ctrl", "bitmain-fan-pwm", "bitmain-freq-level")
"""Sent first, as the miner's own page does; for the reader of a wire log only."""

NOT_WRITTEN: Final = frozenset(
    {
        "api-listen",
        "api-network",
        "api-groups",
        "api-allow",
        "bitmain-use-vil",
        "bitmain-freq",
        "bitmain-voltage",
        "bitmain-ccdelay",
        "bitmain-pwth",
    }
)
"""Keys that no version of the script on record takes from a request: it writes constants, or what the file held."""

_POOL_FIELDS: Final = ("url", "user", "pass")


class UnfitConfError(ValueError):
    """What the miner told is nothing to write back; says why."""


@dataclass(frozen=True, slots=True)
class ConfWrite:
    """A body for `set_miner_conf.cgi`. carried: keys of the document that go back under whatever name; dropped: the
    rest of them, which the script keeps by itself (`NOT_WRITTEN`) or which were null, and that is as good as absent."""

    mode: str
    body: bytes
    carried: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Of the carried keys those that no firmware on record has."""
        return tuple(key for key in self.carried if key not in (*_FIRST, *_MODE_KEYS, "pools"))

    @property
    def null(self) -> tuple[str, ...]:
        """Of the dropped keys those that the script may well take, and had no value to send."""
        return tuple(key for key in self.dropped if key not in NOT_WRITTEN)


def mode_of(conf: Mapping[str, Any]) -> str | None:
    """The configured work mode as text: 0 normal, 1 sleep, 2 high, 3 low power; None when it is not told."""
    for key in _MODE_KEYS:
        value = conf.get(key)
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and is_mode(text):
            return text
    return None


def is_mode(text: str) -> bool:
    """Whether a work mode is called so: one digit."""
    return len(text) == 1 and text.isascii() and text.isdigit()


def with_mode(conf: object, mode: str) -> ConfWrite:
    """What to write so that only the mode changes. Raises UnfitConfError when that cannot be told from `conf`."""
    if not isinstance(conf, dict):
        raise UnfitConfError("the configuration read is no JSON object")
    if mode_of(conf) is None:
        raise UnfitConfError("the configuration read has no work mode")
    _check_pools(conf.get("pools"))
    told = [key for key in conf if key not in (*_MODE_KEYS, "pools")]
    carried = [key for key in told if key not in NOT_WRITTEN and conf[key] is not None]
    carried.sort(key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))
    body: dict[str, Any] = {_RENAMED.get(key, key): conf[key] for key in carried}
    # Versions differ in which of the two sets the mode; each ignores the other (asic-rs pull requests 249 and 312).
    body |= {_MODE_WRITTEN: int(mode), _MODE_READ: mode, "pools": conf["pools"]}
    try:
        text = _json(body)
        encoded = text.encode()
    except (ValueError, RecursionError) as error:  # not a number, half of a character, brackets without end
        raise UnfitConfError(f"the configuration read cannot be written as JSON: {error}") from error
    if _would_garble(text):
        culprit = next(key for key, value in body.items() if _would_garble(_json({key: value})))
        raise UnfitConfError(f"{culprit!r} holds a blank, a quote or a backslash, and the miner's script garbles those")
    dropped = tuple(key for key in told if key not in carried)
    return ConfWrite(mode, encoded, (*carried, _told_mode_key(conf), "pools"), dropped)


def has_pools(conf: Mapping[str, Any]) -> bool:
    """Whether any pool of a configuration has an address."""
    pools = conf.get("pools")
    return isinstance(pools, list) and any(isinstance(pool, dict) and pool.get("url") for pool in pools)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys whose value is not what it was, the mode left out; null and absent are the same. Empty: all is as before."""
    keys = [key for key in (*before, *(key for key in after if key not in before)) if key not in _MODE_KEYS]
    return tuple(key for key in keys if before.get(key) != after.get(key))


def _check_pools(pools: object) -> None:
    """Three empty pools are what a miner without pools has; no list of pools is what a failed read has."""
    if not isinstance(pools, list) or not pools:
        raise UnfitConfError("the configuration read has no pools")
    for number, pool in enumerate(pools):
        if not isinstance(pool, dict) or not all(isinstance(pool.get(field), str) for field in _POOL_FIELDS):
            raise UnfitConfError(f"pool {number} of the configuration read has no url, user or pass")


def _told_mode_key(conf: Mapping[str, Any]) -> str:
    return _MODE_READ if _MODE_READ in conf else _MODE_WRITTEN


def _would_garble(text: str) -> bool:
    return " " in text or "\\" in text  # JSON writes quotes and control characters with a backslash


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
