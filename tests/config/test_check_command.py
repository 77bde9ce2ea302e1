"""`curtaild check`: the effective configuration on one stream, everything that is wrong on the other."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from controller.commands.check import check
from controller.config import Document
from drivers.catalog import known_models
from tests.config.conftest import MODELS

if TYPE_CHECKING:
    from tests.config.conftest import Disk

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("effective.txt")


def run(path: Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return check(path, models=MODELS, env=env or {}, out=out, err=err), out.getvalue(), err.getvalue()


def test_a_good_site_prints_every_key_with_its_value_and_its_origin(disk: Disk) -> None:
    disk.edit(disk.site, "[control]\n", '[control]\nmode = "observe"\nsurplus_margin = "2 %"\n')
    disk.edit(disk.site, "[dispatch]\n", '[dispatch]\nhost = "127.0.0.1"\nusername = "u"\npassword_secret = "mqtt"\n')
    code, out, err = run(disk.site, {"CURTAILD_SECRET_MQTT": "hunter2"})
    assert (code, err) == (0, "")
    assert "hunter2" not in out
    # To renew after a change of keys: write `printed` to effective.txt and read the difference.
    printed = out.replace(str(disk.site.parent), "DIR")
    printed = "\n".join(" ".join(line.split()) for line in printed.splitlines()) + "\n"
    assert printed == GOLDEN.read_text(encoding="utf-8")


def test_what_is_printed_is_a_site_file_again_with_the_same_meaning(disk: Disk, tmp_path: Path) -> None:
    _, out, _ = run(disk.site)
    first = disk.load()
    disk.site.write_text(out, encoding="utf-8")
    again = disk.load()
    Document.model_validate(tomllib.loads(out))
    assert again.policy() == first.policy()
    assert again.journal_directory == first.journal_directory


def test_a_refused_site_ends_with_2_and_counts_its_problems(disk: Disk) -> None:
    disk.edit(disk.site, 'cycle = "1 s"', 'cycle = "1"\nmode = "x"')
    code, out, err = run(disk.site)
    assert (code, out) == (2, "")
    assert "control.cycle" in err
    assert "control.mode" in err
    assert err.endswith("refused, 2 problems\n")


def test_meters_whose_maps_are_unknown_or_do_not_fit_are_refused_each_by_its_name(disk: Disk) -> None:
    disk.site.write_text(disk.site.read_text(encoding="utf-8").replace('"siemens_pac2200"', '"sunspec_meter"'))
    assert run(disk.site)[0] == 0
    text = disk.site.read_text(encoding="utf-8").replace('"sunspec_meter"', '"pac9999"', 1)
    disk.site.write_text(text.replace('"plant_dcs"', '"gone.toml"'), encoding="utf-8")
    code, out, err = run(disk.site)
    assert (code, out) == (2, "")
    assert (
        "poi: no register map 'pac9999'; known are plant_dcs, plant_dcs_2units, siemens_pac2200, sunspec_meter" in err
    )
    assert "gone.toml: cannot be read" in err
    assert err.endswith("refused, 2 problems\n")


def test_the_example_shipped_passes_with_the_drivers_own_catalogue_and_without_warnings() -> None:
    out, err = io.StringIO(), io.StringIO()
    code = check(ROOT / "deploy/examples/site-demo.toml", env={}, out=out, err=err)
    assert (code, err.getvalue()) == (0, "")
    assert "# no warnings" in out.getvalue()
    assert "fleet: 120 miners" in out.getvalue()
    assert known_models()
