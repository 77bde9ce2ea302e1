"""A good site on disk, small enough to read, and a way to spoil it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from controller.config import ConfigError, SiteConfig, load_site
from controller.domain.fleet import Level, MinerModel, ResponseClass

SITE = """\
[site]
id = "hill"
rated = "20 kW"
auxiliary = "1 kW"
power_span = "150 kW"

[control]
cycle = "1 s"

[ramp]

[failsafe]

[fleet]

[verify]

[[feeder]]
name = "a"
rating = "20 kW"

[[meter]]
id = "poi"
feeds = "poi_export"
map = "siemens_pac2200"
host = "10.0.0.1"
direction = "export"

[[meter]]
id = "load"
feeds = "site_load"
map = "siemens_pac2200"
host = "10.0.0.2"
direction = "import"

[[meter]]
id = "dcs"
feeds = "plant"
map = "plant_dcs"
host = "10.0.0.3"

[dispatch]

[metrics]

[waves]
"""

FLEET = """\
id,model,firmware,host,port,feeder,credential,cap_profile,enabled
m-1,Big,LuxOS,10.0.1.1,4028,a,,,
m-2,Big,LuxOS,10.0.1.2,4028,a,,low,yes
m-3,Small,LuxOS,10.0.1.3,4028,a,,,no
"""


def _model(name: str, levels: tuple[Level, ...], nameplate: int = -1) -> MinerModel:
    response = ResponseClass(
        name, sleep_dead_s=1, sleep_90_s=2, wake_dead_s=5, wake_90_s=40, trim_dead_s=1, trim_90_s=4, sleep_power_w=25
    )
    return MinerModel(name, levels, response, nameplate_level=nameplate)


MODELS: Mapping[str, MinerModel] = {
    model.name: model
    for model in (
        _model("Big (LuxOS)", (Level("low", 2000, 120.0), Level("default", 3500, 200.0), Level("hot", 4000, 215.0)), 1),
        _model("Small (LuxOS)", (Level("only", 1000, 50.0), Level("default", 1200, 55.0))),
        _model("Odd (Other)", (Level("eco", 900, 40.0), Level("full", 1800, 70.0))),
    )
}


class Disk:
    """A site directory that tests may spoil before they load it."""

    def __init__(self, directory: Path) -> None:
        self.site = directory / "site.toml"
        self.fleet = directory / "fleet.csv"
        self.write(SITE, FLEET)

    def write(self, site: str, fleet: str) -> None:
        self.site.write_text(site, encoding="utf-8")
        self.fleet.write_text(fleet, encoding="utf-8")

    def edit(self, path: Path, old: str, new: str) -> None:
        """Replace the first `old`; a test that edits nothing would prove nothing."""
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path.name}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def load(self, env: Mapping[str, str] | None = None) -> SiteConfig:
        return load_site(self.site, MODELS, env or {})

    def refused(self, env: Mapping[str, str] | None = None) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            self.load(env)
        return caught.value


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)
