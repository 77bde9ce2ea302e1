"""One TOML file per site and one CSV inventory, read, resolved and checked before anything starts."""

from controller.config.effective import effective_text
from controller.config.inventory import Miner
from controller.config.loading import load_site
from controller.config.outside_sections import MeterSettings
from controller.config.problems import ConfigError, Problem
from controller.config.resolve import direction_sign
from controller.config.sections import Document
from controller.config.site import Broker, Credential, SiteConfig

__all__ = [
    "Broker",
    "ConfigError",
    "Credential",
    "Document",
    "MeterSettings",
    "Miner",
    "Problem",
    "SiteConfig",
    "direction_sign",
    "effective_text",
    "load_site",
]
