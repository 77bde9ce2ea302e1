"""The effective configuration as text: what `curtaild check` prints. Names of secrets, never secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.config.quantities import POWER, written
from controller.config.reflect import Setting, settings_of
from controller.config.site import SiteConfig


def effective_text(config: SiteConfig) -> str:
    """Every key with its value and where it came from, then the fleet and the warnings; all of it is valid TOML."""
    return "\n".join([*_setting_lines(config), *_fleet_lines(config), *_warning_lines(config)])


def _setting_lines(config: SiteConfig) -> Iterator[str]:
    places = {
        "journal.directory": str(config.journal_directory),
        "console.socket": str(config.console_socket),
    }
    for header, settings in settings_of(config.raw, config.document, config.numbers):
        yield header
        yield from (_line(setting, places.get(setting.key)) for setting in settings)
        yield ""


def _line(setting: Setting, place: str | None) -> str:
    name = setting.key.rsplit(".", 1)[-1]
    shown = f'"{place}"' if setting.shown is None and place is not None else setting.shown
    if shown is None:
        return f"# {name} is not set"
    tail = f", {setting.resolved}" if setting.resolved is not None else ""
    return f"{name} = {shown}".ljust(40) + f"  # {setting.origin}{tail}"


def _fleet_lines(config: SiteConfig) -> Iterator[str]:
    cap_w = {miner.miner_id: miner.model.levels[miner.cap_level].power_w for miner in config.miners}
    yield f"# fleet: {len(config.miners)} miners of {config.inventory_path}, {len(config.disabled)} more disabled"
    for model, count in sorted(Counter(miner.model.name for miner in config.miners).items()):
        yield f"#   model {model}: {count}"
    for feeder in config.document.feeder:
        ids = [miner.miner_id for miner in config.miners if miner.feeder == feeder.name]
        drawn = written(sum(cap_w[miner_id] for miner_id in ids), POWER)
        yield f"#   feeder {feeder.name}: {len(ids)} miners, {drawn} of {written(feeder.rating, POWER)}"
    full_w = config.document.site.auxiliary + sum(cap_w.values())
    yield f"#   full load {written(full_w, POWER)}"
    yield f"#   floor {written(config.floor_w, POWER)}: auxiliaries and every miner asleep"
    yield f"#   fallback offset of this site {config.numbers['failsafe.fallback_offset']:g} s"
    yield ""


def _warning_lines(config: SiteConfig) -> Iterator[str]:
    yield f"# warnings: {len(config.warnings)}" if config.warnings else "# no warnings"
    yield from (f"# warning: {warning}" for warning in config.warnings)
