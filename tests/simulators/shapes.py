"""What a reply looks like, whatever its values."""

from typing import Any


def shape(value: Any) -> Any:
    """Keys and types, lists by their first entry; whole and broken numbers count as the same."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
