"""The configuration file of a simulated stock Antminer: what its web interface returns, and what a write makes of it.

`get_miner_conf.cgi` returns the file as it lies in flash. `set_miner_conf.cgi` takes a JSON object under *other* names
(`freq-level` for `bitmain-freq-level`, `miner-mode` for `bitmain-work-mode`) and writes the whole file anew. A name it
does not know is passed over without a word, also `bitmain-work-mode`, which is only a name for reading.

What happens to a key that a write leaves out differs between versions. `Unsent.LOST`, the harsher reading, is what
simulated miners do unless told otherwise: a client that is right under it is right under `KEPT` as well. Under
`FACTORY` no client can be right; it can only say what became of the configuration.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

POOL_SLOTS: Final = 3
NORMAL: Final = "0"
SLEEP: Final = "1"
LOW_POWER: Final = "3"


class Unsent(StrEnum):
    """What a write does to the keys it does not bring."""

    LOST = "lost"
    """They fall back to the factory's values; pools become empty."""
    KEPT = "kept"
    """They stay; so do the fields of a pool that is sent in part."""
    FACTORY = "factory"
    """They stay, but for the fans and the frequency level: those are the factory's after every write, sent or not."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool slot; all three texts are empty in an unused one."""

    url: str = ""
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class MinerConf:
    """The settings in the file, all as text but the switch of the fans. extra: keys of a version that knows more, in
    their order; a write knows them by the same names."""

    pools: tuple[Pool, ...]
    work_mode: str = NORMAL
    fan_ctrl: bool = False
    fan_pwm: str = "100"
    freq_level: str = "100"
    freq: str = "675"
    voltage: str = "1400"
    ccdelay: str = "0"
    pwth: str = "0"
    extra: tuple[tuple[str, str], ...] = ()

    def file(self) -> bytes:
        """The file: keys, their order and the layout as recorded from an S19 with the firmware of December 2022."""
        slots = ",\n".join(
            f'{{\n"url" : {_quoted(pool.url)},\n"user" : {_quoted(pool.user)},\n"pass" : {_quoted(pool.password)}\n}}'
            for pool in self.pools
        )
        settings: tuple[tuple[str, str | bool], ...] = (
            ("api-listen", True),
            ("api-network", True),
            ("api-groups", "A:stats:pools:devs:summary:version"),
            ("api-allow", "A:0/0,W:*"),
            ("bitmain-fan-ctrl", self.fan_ctrl),
            ("bitmain-fan-pwm", self.fan_pwm),
            ("bitmain-use-vil", True),
            ("bitmain-freq", self.freq),
            ("bitmain-voltage", self.voltage),
            ("bitmain-ccdelay", self.ccdelay),
            ("bitmain-pwth", self.pwth),
            ("bitmain-work-mode", self.work_mode),
            ("bitmain-freq-level", self.freq_level),
            *self.extra,
        )
        lines = ",\n".join(f'"{key}" : {json.dumps(value)}' for key, value in settings)
        return f'{{\n"pools" : [\n{slots}\n]\n,\n{lines}\n}}\n'.encode()

    def written(self, sent: Mapping[str, Any], *, unsent: Unsent, modes: Collection[str]) -> "MinerConf":
        """The file after a write of `sent`; a mode that is not in `modes` counts as not sent."""
        kept = FACTORY if unsent is Unsent.LOST else self
        fan_ctrl = _text(sent.get("bitmain-fan-ctrl"))
        mode = _text(sent.get("miner-mode"))
        after = replace(
            self,
            pools=_pools(sent.get("pools"), kept.pools),
            work_mode=kept.work_mode if mode is None or mode not in modes else mode,
            fan_ctrl=kept.fan_ctrl if fan_ctrl is None else fan_ctrl == "true",
            fan_pwm=_given(sent, "bitmain-fan-pwm", kept.fan_pwm),
            freq_level=_given(sent, "freq-level", kept.freq_level),
            extra=tuple((key, _given(sent, key, value)) for key, value in self.extra if kept is self or key in sent),
        )
        if unsent is not Unsent.FACTORY:
            return after
        return replace(after, fan_ctrl=FACTORY.fan_ctrl, fan_pwm=FACTORY.fan_pwm, freq_level=FACTORY.freq_level)


FACTORY: Final = MinerConf(pools=(Pool(),) * POOL_SLOTS)
"""What a write falls back to."""


def conf_of(index: int, frequency_mhz: int) -> MinerConf:
    """A configuration as an owner would have left it: two pools, and a level and fans that are not the factory's."""
    worker = f"site.miner-{index:05d}"
    return replace(
        FACTORY,
        pools=(
            Pool("stratum+tcp://pool-a.invalid:3333", worker, "x"),
            Pool("stratum+tcp://pool-b.invalid:3333", worker, "x"),
            Pool(),
        ),
        freq=str(frequency_mhz),
        fan_pwm="80",
        freq_level="95",
    )


def _pools(sent: object, kept: tuple[Pool, ...]) -> tuple[Pool, ...]:
    slots = sent if isinstance(sent, list) else []
    given = [slots[n] if n < len(slots) and isinstance(slots[n], dict) else {} for n in range(POOL_SLOTS)]
    return tuple(
        Pool(_given(slot, "url", old.url), _given(slot, "user", old.user), _given(slot, "pass", old.password))
        for slot, old in zip(given, kept, strict=True)
    )


def _given(sent: Mapping[str, Any], key: str, otherwise: str) -> str:
    text = _text(sent.get(key))
    return otherwise if text is None else text


def _text(value: object) -> str | None:
    """A JSON value as a shell script sees it; None for one that is missing or null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
