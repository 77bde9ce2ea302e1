"""Is the machine that answers the one the inventory has? Only a miner's own words can say that it is not.

The inventory is the authority: its firmware decides which driver speaks. What a miner says of itself is compared with
it, and a contradiction needs positive evidence: the name of another firmware, or of another model. Silence, a closed
port, a refusal, an answer in an unknown shape and a name we cannot read are none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drivers.asic.profiles import ModelFacts
from drivers.asic.rpc import LONGEST_WORDS, words_of

_ASK_EVERY_S: Final = 3600.0
"""A miner that fits is asked again this often; miners are swapped by hand, not by the minute."""

_ASK_AGAIN_S: Final = 60.0
"""A question that brought no evidence is put again after this long, so that a mute miner costs little."""

# In the order in which they decide: Braiins and VNish keep the maker's words beside their own.
_FIRMWARE_OF_WORD: Final = (
    ("boser", "Braiins OS"),
    ("bosminer", "Braiins OS"),
    ("luxminer", "LuxOS"),
    ("vnish", "VNish"),
    ("hiveon", "Hiveon"),
    ("kaonsu", "Mara"),
    ("btminer", "WhatsMiner"),
    ("bitmicro", "WhatsMiner"),
    ("whatsminer", "WhatsMiner"),
    ("gcminer", "Auradine"),
    ("avalon", "Avalon"),
    ("innominer", "Innosilicon"),
    ("rwglr", "MSKMiner"),
)
_STOCK: Final = "Antminer stock"
_STOCK_PROGRAMS: Final = frozenset(("bmminer", "cgminer"))

_ANTMINER_NAME: Final = re.compile(r"(?:bitmain )?antminer ([a-z]\d{1,2}(?!\d).*)", re.IGNORECASE)
_ASIDE: Final = re.compile(r"\([^()]*\)|\bhiveon\b", re.IGNORECASE)
_WHATSMINER_NAME: Final = re.compile(r"(?:whatsminer )?(M\d{2}[A-Z]{0,2}\+{0,2})(?:_?V[A-Z0-9]+)?", re.IGNORECASE)
_SAME_MODEL: Final = re.compile(r" (?:a|aml|bb|nopic)\b|\s", re.IGNORECASE)
"""What firmware adds to a model's name and is no other model: control and hash boards, spaces."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a miner said of itself; "" for what it did not say, or said in a way we cannot read.

    firmware: as the inventory spells it, or another firmware's name; "WhatsMiner" alone when its version is not told.
    words: the words the rest was read from, for the sentence a person gets to see.
    """

    firmware: str = ""
    model: str = ""
    words: str = ""


def contradiction(facts: ModelFacts, told: Told) -> str:
    """One sentence when the miner says it is another machine than the inventory has; "" when it does not."""
    return _other_firmware(facts, told) or _other_model(facts, told)


def _other_firmware(facts: ModelFacts, told: Told) -> str:
    if not told.firmware or f"{facts.firmware} ".casefold().startswith(f"{told.firmware} ".casefold()):
        return ""
    return f"the inventory has {facts.firmware}, the miner says {told.firmware} ({words_of(told.words)})"


def _other_model(facts: ModelFacts, told: Told) -> str:
    if not told.model or _plain(told.model) == _plain(facts.model):
        return ""
    return f"the inventory has {facts.model}, the miner says {words_of(told.model)} ({words_of(told.words)})"


def told_by_version(document: object) -> Told:
    """A reply to `version`, or to a WhatsMiner's `get_version`; a refusal may name its program as well."""
    if not isinstance(document, Mapping):
        return Told()
    message = document.get("Msg")
    if isinstance(message, Mapping):
        return _told_by_whatsminer(message)
    version, status = _record(document, "VERSION"), _record(document, "STATUS")
    firmware, said = _firmware(_texts(version, status, document))
    model = _antminer(version.get("Type"))
    if model and not firmware:
        said = next((key for key in version if key.casefold() in _STOCK_PROGRAMS), "")
        firmware = _STOCK if said else ""
    words = (version["Type"] if model else "", said)
    return Told(firmware, model, ", ".join(dict.fromkeys(filter(None, words))))


def told_by_devdetails(document: object) -> Told:
    """A WhatsMiner's reply to `devdetails`: its model, such as `M50S_VH50`. A stopped miner may not tell it."""
    if not isinstance(document, Mapping):
        return Told()
    name = _record(document, "DEVDETAILS").get("Model")
    match = _WHATSMINER_NAME.fullmatch(name.strip()) if isinstance(name, str) else None
    if match is None:
        return told_by_version(document)
    return Told("WhatsMiner", f"WhatsMiner {match[1].upper()}", str(name))


def told_by_system_info(document: object) -> Told:
    """A stock Antminer's `get_system_info.cgi`; other firmware on the same hardware answers it as well, so only the
    model is evidence."""
    name = document.get("minertype") if isinstance(document, Mapping) else None
    model = _antminer(name)
    return Told(_firmware([str(name)])[0], model, str(name)) if model else Told()


def _told_by_whatsminer(message: Mapping[str, Any]) -> Told:
    api, firmware = message.get("api_ver"), message.get("fw_ver")
    if not isinstance(api, str) or not isinstance(firmware, str):
        return Told()
    generation = re.search(r"(\d)\.", api)
    name = f"WhatsMiner V{generation[1]}" if generation else "WhatsMiner"
    return Told(name, "", f"api {api}, firmware {firmware}")


class IdentityCheck:
    """One miner's standing: fits or contradicts, and when to ask it again.

    It is asked at first contact, after every time it could not be reached (somebody may have put another one in its
    place), every hour, and with every read for as long as it contradicts. The driver asks with a read, and before a
    command that may raise the load; never before one that lowers it.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts
        self._ask_at = -math.inf
        self._other_firmware = self._other_model = ""
        self._may_be_new = False

    @property
    def sentence(self) -> str:
        """Why this is another machine; "" while nothing says so."""
        return self._other_firmware or self._other_model

    def due(self, now_s: float) -> bool:
        """Whether to ask, at loop second `now_s`."""
        return now_s >= self._ask_at

    def lost(self) -> None:
        """The miner could not be reached: whatever answers next is asked who it is."""
        self._ask_at = -math.inf
        self._may_be_new = True

    def heard(self, told: Told, now_s: float) -> str:
        """Take an answer, `Told()` for one without evidence; returns the sentence that holds now.

        An answer without evidence leaves the last one in force: a miner that contradicted stays parked until it says
        that it fits, its firmware whole (`WhatsMiner` alone is half of it) or its model, whichever it contradicted.
        Half an answer is not the last one for an hour. What was away may have been replaced by one that does not tell
        its model: there its firmware is enough.
        """
        whole = told.firmware.casefold() == self._facts.firmware.casefold()
        if whole or _other_firmware(self._facts, told):
            self._other_firmware = _other_firmware(self._facts, told)
        if told.model or (whole and self._may_be_new):
            self._other_model = _other_model(self._facts, told)
        self._may_be_new = self._may_be_new and not whole
        after_s = 0.0 if self.sentence else _ASK_EVERY_S if whole and told.model else _ASK_AGAIN_S
        self._ask_at = now_s + after_s
        return self.sentence


def _firmware(texts: Iterable[str]) -> tuple[str, str]:
    """The firmware that one of the texts names, and that text; "" and "" when none does."""
    folded = [(text.casefold(), text) for text in texts]
    found = ((name, text) for word, name in _FIRMWARE_OF_WORD for plain, text in folded if word in plain)
    return next(found, ("", ""))


def _antminer(name: object) -> str:
    """`Antminer S19k Pro` from what a firmware calls it; "" for hash boards and other names that are no model's."""
    if not isinstance(name, str) or len(name) > LONGEST_WORDS:
        return ""
    match = _ANTMINER_NAME.fullmatch(_ASIDE.sub("", name).strip())
    return f"Antminer {match[1].strip()}" if match else ""


def _plain(model: str) -> str:
    return _SAME_MODEL.sub("", model).casefold()


def _record(document: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    records = document.get(section)
    if isinstance(records, list) and records:
        records = records[0]
    return records if isinstance(records, Mapping) else {}


def _texts(*parts: Mapping[str, Any]) -> Iterator[str]:
    """Every key, and every value that is a text."""
    for part in parts:
        for key, value in part.items():
            yield key
            if isinstance(value, str):
                yield value
