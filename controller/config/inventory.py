"""The inventory: one CSV row per miner. Every fault of the file is reported in one go."""

from __future__ import annotations

import csv
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.config.problems import Problem, shown_value
from controller.config.section import NAME_PATTERN
from controller.domain.fleet import MinerModel

MINER_ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
# column -> (required, what it holds); the reference in docs/configuration.md is made from this table
COLUMNS: Final[Mapping[str, tuple[bool, str]]] = {
    "id": (True, "name of the miner: letters, digits, `.`, `_`, `-`; never used twice"),
    "model": (True, "model, one of those the drivers know"),
    "firmware": (True, "firmware on it, one of those the drivers know"),
    "host": (True, "IP address; names are refused, because a name server is one more thing that can fail"),
    "port": (True, "port of the firmware's interface, 1-65535"),
    "web_port": (False, "port of its web interface; empty: 80. Only firmware that is driven over the web uses it"),
    "feeder": (True, "name of a [[feeder]] of the site file"),
    "limits": (False, "names of further [[limit]]s it hangs on, separated by spaces: its phase, or its container"),
    "credential": (
        False,
        "name of the secret that opens it; empty: the maker's own, WhatsMiner V2 `admin`, Antminer stock `root`/`root`",
    ),
    "cap_profile": (
        False,
        "highest profile it may run; empty: the nameplate's. A miner that is only slept and woken is not held to it",
    ),
    "enabled": (False, "`yes` or `no`; empty: yes. A disabled miner is never spoken to, though its draw still counts"),
}
_YES_NO: Final = {"": True, "yes": True, "true": True, "no": False, "false": False}
DEFAULT_WEB_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Miner:
    """One row. `cap_level` is the index of its cap profile in the model's ladder; `credential` names a secret."""

    miner_id: str
    model_name: str
    firmware: str
    model: MinerModel
    host: str
    port: int
    web_port: int
    feeder: str
    credential: str | None
    cap_level: int
    enabled: bool
    line: int
    limits: tuple[str, ...] = ()


def model_key(model: str, firmware: str) -> str:
    """What the drivers' catalogue calls a model on a firmware: `Antminer S21 (LuxOS)`."""
    return f"{model} ({firmware})"


def read_inventory(
    path: Path, known_models: Mapping[str, MinerModel], feeders: Sequence[str]
) -> tuple[tuple[Miner, ...], list[Problem]]:
    """All good rows and every problem. Feeders are the names the site file defines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        advice = "create it, or name the right file under fleet.inventory"
        return (), [Problem(path, None, "inventory", None, "this file does not exist", advice)]
    except (OSError, UnicodeDecodeError) as error:
        reason = f"this file cannot be read ({type(error).__name__})"
        return (), [Problem(path, None, "inventory", None, reason, "it must be readable and encoded in UTF-8")]
    reader = csv.reader(text.splitlines(), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, row) for row in reader if any(row) and not row[0].startswith("#"))
    except csv.Error as error:
        return (), [Problem(path, reader.line_num, "row", None, str(error), "check the quotes in this line")]
    if not rows:
        return (), [
            Problem(path, None, "inventory", None, "this file is empty", "give it a header and a row per miner")
        ]
    header = [name.strip() for name in rows[0][1]]
    problems = _check_header(path, rows[0][0], header)
    if problems:
        return (), problems
    return _Rows(path, header, known_models, feeders).read(rows[1:])


def _check_header(path: Path, line: int, header: list[str]) -> list[Problem]:
    def problem(column: str, reason: str, advice: str) -> Problem:
        return Problem(path, line, "column", shown_value(column), reason, advice)

    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        return [
            problem(header[0], "the columns are not separated by commas", "save the file as comma-separated values")
        ]
    known = ", ".join(COLUMNS)
    problems = [
        problem(name, "this column is not known", f"known are {known}") for name in header if name not in COLUMNS
    ]
    problems += [
        problem(name, "this column is missing", "add it to the header and to every row")
        for name, (required, _) in COLUMNS.items()
        if required and name not in header
    ]
    problems += [
        problem(name, "this column stands there twice", "remove one of the two")
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    return problems


class _Rows:
    """Reads rows one by one and remembers what was seen before, for the duplicates."""

    def __init__(
        self, path: Path, header: list[str], known_models: Mapping[str, MinerModel], feeders: Sequence[str]
    ) -> None:
        self._path = path
        self._header = header
        self._models = known_models
        self._feeders = feeders
        self._line_of_id: dict[str, int] = {}
        self._line_of_address: dict[tuple[str, int], int] = {}
        self._problems: list[Problem] = []

    def read(self, rows: Sequence[tuple[int, list[str]]]) -> tuple[tuple[Miner, ...], list[Problem]]:
        miners = [miner for line, row in rows if (miner := self._row(line, row)) is not None]
        return tuple(miners), self._problems

    def _refuse(self, line: int, column: str, value: str, reason: str, advice: str) -> None:
        self._problems.append(Problem(self._path, line, column, shown_value(value), reason, advice))

    def _row(self, line: int, row: list[str]) -> Miner | None:
        before = len(self._problems)
        if len(row) != len(self._header):
            reason = f"this row has {len(row)} fields and the header has {len(self._header)}"
            self._refuse(line, "row", ",".join(row), reason, "give every row a field for every column")
            return None
        cells = {name: cell.strip() for name, cell in zip(self._header, row, strict=True)}
        miner_id = self._id(line, cells["id"])
        host, port = self._address(line, cells["host"], cells["port"])
        web_text = cells.get("web_port", "")
        web_port = self._port(line, "web_port", web_text) if web_text else DEFAULT_WEB_PORT
        found = self._model(line, cells["model"], cells["firmware"])
        feeder = cells["feeder"]
        if feeder not in self._feeders:
            known = ", ".join(self._feeders) or "none"
            self._refuse(line, "feeder", feeder, "the site file defines no such feeder", f"defined are: {known}")
        cap_level = self._cap_level(line, cells.get("cap_profile", ""), found) if found else None
        credential = cells.get("credential", "")
        if credential and re.fullmatch(NAME_PATTERN, credential) is None:
            reason = "this is no name of a secret"
            advice = "write the secret's name here (small letters, digits, hyphens), never the secret itself"
            self._problems.append(Problem(self._path, line, "credential", '"***"', reason, advice))
        enabled = _YES_NO.get(cells.get("enabled", "").lower())
        if enabled is None:
            self._refuse(line, "enabled", cells["enabled"], "this is neither yes nor no", "write yes or no")
        if len(self._problems) > before or found is None or cap_level is None or enabled is None:
            return None
        return Miner(
            miner_id,
            cells["model"],
            cells["firmware"],
            found,
            host,
            port,
            web_port,
            feeder,
            credential or None,
            cap_level,
            enabled,
            line,
            tuple(dict.fromkeys(cells.get("limits", "").split())),
        )

    def _id(self, line: int, miner_id: str) -> str:
        if re.fullmatch(MINER_ID_PATTERN, miner_id) is None:
            advice = "use letters, digits, dots, underscores and hyphens, at most 63"
            self._refuse(line, "id", miner_id, "this is no name for a miner", advice)
        elif miner_id in self._line_of_id:
            reason = f"line {self._line_of_id[miner_id]} already uses this id"
            self._refuse(line, "id", miner_id, reason, "give every miner an id of its own")
        self._line_of_id.setdefault(miner_id, line)
        return miner_id

    def _address(self, line: int, host: str, port_text: str) -> tuple[str, int]:
        address = None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            self._refuse(line, "host", host, "this is no IP address", 'write for example "10.0.3.17"')
        port = self._port(line, "port", port_text)
        if address is not None and (address.is_unspecified or address.is_multicast):
            self._refuse(line, "host", host, "no miner can have this address", "write the miner's own address")
        elif address is not None and port:
            key = (str(address), port)
            if key in self._line_of_address:
                reason = f"line {self._line_of_address[key]} already uses this host and port"
                self._refuse(line, "host", f"{host}:{port}", reason, "give every miner an address of its own")
            self._line_of_address.setdefault(key, line)
        return (str(address) if address is not None else host), port

    def _port(self, line: int, column: str, text: str) -> int:
        """0 for what is none, which has been said then."""
        port = int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0
        if 1 <= port <= 65535:
            return port
        self._refuse(line, column, text, "this is no TCP port", "write a number from 1 to 65535")
        return 0

    def _model(self, line: int, model: str, firmware: str) -> MinerModel | None:
        found = self._models.get(model_key(model, firmware))
        if found is not None:
            return found
        endings = {name: name.rpartition(" (")[2].removesuffix(")") for name in self._models}
        if firmware not in endings.values():
            advice = f"known are: {', '.join(sorted(set(endings.values())))}"
            self._refuse(line, "firmware", firmware, "no driver knows this firmware", advice)
        else:
            models = sorted(name.rpartition(" (")[0] for name, ending in endings.items() if ending == firmware)
            reason = f"no driver knows this model on {firmware}"
            self._refuse(line, "model", model, reason, f"known are: {', '.join(models)}")
        return None

    def _cap_level(self, line: int, profile: str, model: MinerModel) -> int | None:
        names = [level.name for level in model.levels]
        if not profile:
            return model.nameplate_level % len(names)
        if profile in names:
            return names.index(profile)
        reason = f"{model.name} has no profile of this name"
        self._refuse(line, "cap_profile", profile, reason, f"write one of: {', '.join(names)}")
        return None
