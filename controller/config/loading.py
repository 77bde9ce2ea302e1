"""Reads one site: its TOML file, its inventory and the secrets they name.

Keys and values come first, all problems of the site file together; once they stand, the inventory, the secrets and the
rules between the keys are judged, again all together.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from controller.config.checks import Facts, Finding, Rule, Severity
from controller.config.inventory import Miner, read_inventory
from controller.config.problems import ConfigError, Location, Problem, lines_of, problems_of, shown_value
from controller.config.reflect import find_field
from controller.config.resolve import resolve
from controller.config.secrets import environment_name, find_secret
from controller.config.sections import Document
from controller.config.site import SiteConfig
from controller.config.wiring import RULES, UNIX_PATH_MAX
from controller.domain.fleet import MinerModel


def load_site(path: Path, known_models: Mapping[str, MinerModel], env: Mapping[str, str]) -> SiteConfig:
    """Read, resolve and check one site.

    known_models: the drivers' catalogue, by `model (firmware)`.
    env: the environment, for the secrets and for what systemd sets: CREDENTIALS_DIRECTORY, STATE_DIRECTORY,
    RUNTIME_DIRECTORY, WATCHDOG_USEC.

    Raises ConfigError with everything that is wrong.
    """
    return _Loader(path, known_models, env).load()


class _Loader:
    """One reading of one site. Problems pile up, so that a person mends them all at once."""

    def __init__(self, path: Path, known_models: Mapping[str, MinerModel], env: Mapping[str, str]) -> None:
        self._path = path
        self._known_models = known_models
        self._env = env
        self._problems: list[Problem] = []
        self._raw: dict[str, Any] = {}
        self._lines: dict[Location, int] = {}

    def load(self) -> SiteConfig:
        document = self._read_document()
        inventory_path = self._path.parent / document.fleet.inventory
        feeders = [feeder.name for feeder in document.feeder]
        listed, problems = read_inventory(inventory_path, self._known_models, feeders)
        miners = tuple(miner for miner in listed if miner.enabled)
        numbers = resolve(document, len(miners))
        facts = Facts(document, numbers, miners, self._watchdog_s(), bool(problems))
        warnings = [*self._judge(facts), *self._unreadable_tls_files(document)]
        secrets = self._find_secrets(document, miners, inventory_path)
        journal_directory, console_socket = self._places(document)
        self._problems.extend(problems)
        if self._problems:
            raise ConfigError(self._problems)
        return SiteConfig(
            path=self._path,
            raw=self._raw,
            document=document,
            numbers=numbers,
            miners=miners,
            disabled=tuple(miner.miner_id for miner in listed if not miner.enabled),
            secrets=secrets,
            warnings=tuple(warnings),
            floor_w=facts.floor_w,
            journal_directory=journal_directory,
            console_socket=console_socket,
        )

    def _read_document(self) -> Document:
        """Raises ConfigError: without a document there is nothing left to check."""
        try:
            text = self._path.read_text(encoding="utf-8")
            self._raw = tomllib.loads(text)
        except FileNotFoundError:
            raise ConfigError(
                [self._about_file("this file does not exist", "name the site file with --config")]
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = f"this file cannot be read ({type(error).__name__})"
            raise ConfigError([self._about_file(reason, "it must be readable and encoded in UTF-8")]) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError([self._about_file(f"this is not TOML: {error}", "mend the syntax there")]) from None
        self._lines = lines_of(text)
        try:
            return Document.model_validate(self._raw)
        except ValidationError as error:
            raise ConfigError(problems_of(error, self._path, self._raw, self._lines, Document)) from None

    def _about_file(self, reason: str, advice: str) -> Problem:
        return Problem(self._path, None, "site file", None, reason, advice)

    def _watchdog_s(self) -> float | None:
        text = self._env.get("WATCHDOG_USEC", "")
        if not text:
            return None
        if not text.isascii() or not text.isdigit():
            advice = "leave it to systemd, or unset it"
            self._problems.append(
                Problem(
                    self._path, None, "$WATCHDOG_USEC", shown_value(text), "this is no number of microseconds", advice
                )
            )
            return None
        return int(text) / 1e6

    def _judge(self, facts: Facts) -> list[Problem]:
        """Apply the table; refusals join the problems, warnings are returned."""
        warnings: list[Problem] = []
        for rule in RULES:
            for finding in rule.look(facts):
                problem = self._problem_at(rule, finding, facts)
                (warnings if rule.severity is Severity.WARN else self._problems).append(problem)
        return warnings

    def _problem_at(self, rule: Rule, finding: Finding, facts: Facts) -> Problem:
        field = find_field(finding.key, self._raw, facts.document, facts.numbers)
        line = self._lines.get(field.location) or self._lines.get(field.location[:-1])
        because = "; ".join(part for part in (finding.reason, rule.because) if part)
        reason = f"{because} (rule: {rule.states}{self._others(rule, finding, facts)})"
        return Problem(self._path, line, finding.key, field.shown, reason, rule.advice)

    def _others(self, rule: Rule, finding: Finding, facts: Facts) -> str:
        """The values of the other keys a rule speaks of, so that nobody has to look them up."""
        keys = (word.strip(",()") for word in rule.states.split())
        named = dict.fromkeys(word for word in keys if word in facts.numbers and word != finding.key)
        shown = [f"{name} = {find_field(name, self._raw, facts.document, facts.numbers).shown}" for name in named]
        return f"; {', '.join(shown)}" if shown else ""

    def _unreadable_tls_files(self, document: Document) -> Iterator[Problem]:
        """A warning only: a key that systemd hands to the service is not there for whoever checks the file."""
        for key in ("ca_file", "certificate_file", "key_file"):
            name = getattr(document.dispatch, key)
            if name is None or os.access(self._path.parent / name, os.R_OK):
                continue
            line = self._lines.get(("dispatch", key))
            reason = "this file does not exist here, or cannot be read; without it the broker cannot be reached"
            advice = "correct the path, or ignore this where only the service may read it"
            yield Problem(self._path, line, f"dispatch.{key}", shown_value(name), reason, advice)

    def _find_secrets(self, document: Document, miners: tuple[Miner, ...], inventory: Path) -> dict[str, SecretStr]:
        """Every secret named anywhere; one that nobody holds is a problem, said once."""
        secrets: dict[str, SecretStr] = {}
        for name, file, line, key in self._secret_names(document, miners, inventory):
            if name in secrets:
                continue
            try:
                found = find_secret(name, self._env)
            except ValueError as error:
                reason = str(error)
            else:
                if found is not None:
                    secrets[name] = found
                    continue
                reason = "nobody holds this secret"
            place = f"the credentials directory (systemd: LoadCredential={name}:...)"
            advice = f"put it into {place} or into ${environment_name(name)}"
            self._problems.append(Problem(file, line, key, shown_value(name), reason, advice))
            secrets[name] = SecretStr("")
        return secrets

    def _secret_names(
        self, document: Document, miners: tuple[Miner, ...], inventory: Path
    ) -> Iterator[tuple[str, Path, int | None, str]]:
        password = document.dispatch.password_secret
        if password is not None:
            yield password, self._path, self._lines.get(("dispatch", "password_secret")), "dispatch.password_secret"
        for miner in miners:
            if miner.credential is not None:
                yield miner.credential, inventory, miner.line, "credential"

    def _places(self, document: Document) -> tuple[Path, Path]:
        """Where the journal and the console socket live; systemd's own directories come before ours."""
        base = self._path.parent
        state = self._env.get("STATE_DIRECTORY", "").partition(":")[0]
        directory = Path(state) if state else base / "state" / document.site.id
        if document.journal.directory is not None:
            directory = base / document.journal.directory
        runtime = self._env.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        socket = (Path(runtime) if runtime else directory) / "control.sock"
        if document.console.socket is not None:
            socket = base / document.console.socket
        length = len(str(socket.absolute()).encode())
        if length > UNIX_PATH_MAX:
            line = self._lines.get(("console", "socket"))
            reason = f"a socket's path has at most {UNIX_PATH_MAX} bytes, this one has {length}"
            advice = "write a shorter path under console.socket"
            self._problems.append(Problem(self._path, line, "console.socket", shown_value(str(socket)), reason, advice))
        return directory, socket
