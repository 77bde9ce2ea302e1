"""Secrets by name. Files hold names only; the values come from a credentials directory or from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from controller.config.section import NAME_PATTERN

SECRET_SIZE_MAX = 64 * 1024


def environment_name(name: str) -> str:
    """`mqtt-password` -> `CURTAILD_SECRET_MQTT_PASSWORD`."""
    return "CURTAILD_SECRET_" + name.upper().replace("-", "_")


def find_secret(name: str, env: Mapping[str, str]) -> SecretStr | None:
    """The secret called `name`, without the newline at its end; None when nobody holds it.

    `$CREDENTIALS_DIRECTORY/<name>` (systemd's LoadCredential=<name>:FILE) comes before `secrets_<name>` there (its
    LoadCredential=secrets:FOLDER), and both before the environment. An empty secret is none.

    Raises ValueError when the name is no plain name (it becomes part of a path) or the file cannot be read as text.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise ValueError(f"{name!r} is no name of a secret: small letters, digits and hyphens only")
    directory = env.get("CREDENTIALS_DIRECTORY")
    for path in (Path(directory) / name, Path(directory) / f"secrets_{name}") if directory else ():
        try:
            with path.open("rb") as file:
                content = file.read(SECRET_SIZE_MAX).decode("utf-8").rstrip("\r\n")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the secret {path} cannot be read: {type(error).__name__}") from None
        return SecretStr(content) if content else None
    value = env.get(environment_name(name), "")
    return SecretStr(value) if value else None
