"""One site's configuration, read and checked: what the rest of the program asks it for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from controller.config.inventory import Miner
from controller.config.outside_sections import MeterSettings
from controller.config.problems import Problem
from controller.config.resolve import Numbers, build_policy
from controller.config.sections import Document
from controller.domain.fleet import Fleet, MinerUnit, build_fleet
from controller.domain.limits import Limit
from controller.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach the dispatcher's broker; `password` hides itself when printed."""

    host: str
    port: int
    tls: bool
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    username: str | None
    password: SecretStr | None


@dataclass(frozen=True, slots=True)
class Credential:
    """What opens a miner. The secret holds `user:password`, or the password alone."""

    username: str | None
    password: SecretStr


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """One site's configuration, checked. `document` holds every section as written, `numbers` every number resolved.

    miners: the enabled ones; their order is the fleet's, so an index means the same in both.
    disabled: ids of the inventory's disabled miners.
    warnings: what is allowed but probably not meant; for the log at start and for `curtaild check`.
    """

    path: Path
    raw: Mapping[str, Any]
    document: Document
    numbers: Numbers
    miners: tuple[Miner, ...]
    disabled: tuple[str, ...]
    secrets: Mapping[str, SecretStr]
    warnings: tuple[Problem, ...]
    floor_w: float
    journal_directory: Path
    console_socket: Path

    @property
    def site_id(self) -> str:
        return self.document.site.id

    @property
    def meters(self) -> tuple[MeterSettings, ...]:
        return self.document.meter

    @property
    def inventory_path(self) -> Path:
        return self.path.parent / self.document.fleet.inventory

    @property
    def journal_path(self) -> Path:
        return self.journal_directory / "journal.sqlite"

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Host and port of /metrics."""
        host, _, port = self.document.metrics.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def broker(self) -> Broker | None:
        """None when the site has no dispatcher."""
        settings = self.document.dispatch
        if settings.host is None:
            return None

        def beside(name: str | None) -> Path | None:
            return self.path.parent / name if name else None

        return Broker(
            host=settings.host,
            port=settings.port,
            tls=settings.tls,
            ca_file=beside(settings.ca_file),
            certificate_file=beside(settings.certificate_file),
            key_file=beside(settings.key_file),
            username=settings.username,
            password=self.secrets[settings.password_secret] if settings.password_secret else None,
        )

    def policy(self) -> Policy:
        """The numbers the core decides with."""
        return build_policy(self.document, self.numbers)

    def fleet(self) -> Fleet:
        """The enabled miners as arrays, in the order of `miners`."""
        feeders = [feeder.name for feeder in self.document.feeder]
        place_of = {limit.name: place for place, limit in enumerate(self.document.limit)}
        limits = tuple(
            Limit(limit.name, limit.kind, limit.rating, None if limit.parent is None else place_of[limit.parent])
            for limit in self.document.limit
        )
        hangs_on = tuple(None if feeder.limit is None else place_of[feeder.limit] for feeder in self.document.feeder)
        units = tuple(
            MinerUnit(
                miner.miner_id,
                miner.model,
                feeders.index(miner.feeder),
                miner.cap_level,
                miner.firmware,
                tuple(place_of[name] for name in miner.limits),
            )
            for miner in self.miners
        )
        ratings_w = tuple(feeder.rating for feeder in self.document.feeder)
        inrush_w = tuple(feeder.inrush_max for feeder in self.document.feeder)
        return build_fleet(units, tuple(feeders), ratings_w, inrush_w, limits, hangs_on)

    def credential_of(self, miner: Miner) -> Credential | None:
        """What opens this miner; None when its firmware asks for nothing."""
        if miner.credential is None:
            return None
        username, colon, password = self.secrets[miner.credential].get_secret_value().partition(":")
        return Credential(username, SecretStr(password)) if colon else Credential(None, SecretStr(username))
