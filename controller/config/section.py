"""What every section of the site file is made of: keys that say what they are for, and why their default."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"
HOST_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?$"
LISTEN_PATTERN = r"^(\[[0-9A-Fa-f:]+\]|[0-9A-Za-z.-]+):\d{1,5}$"

Port = Annotated[int, Field(ge=1, le=65535)]


def key(says: str, default: object = ..., *, why: str, derived: str | None = None, **constraints: Any) -> Any:
    """One key. `default` is written as a user would write it and goes through the same parser.

    derived: for a key whose default is worked out from others (default None), how. why: the reason for the default,
    or for a required key, why nobody but the operator can know it.
    """
    about: dict[str, Any] = {"why": why, "derived": derived}
    field: Any = Field  # its overloads cannot follow constraints handed through
    return field(
        default, validate_default=default is not None, description=says, json_schema_extra=about, **constraints
    )


class Section(BaseModel):
    """Frozen; no key but the ones below; TOML's own types, nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
