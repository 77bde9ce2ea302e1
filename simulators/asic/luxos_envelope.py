"""What every LuxOS reply comes in."""

import time
from typing import Any, Final

from simulators.asic.wire_server import Reply

FIRMWARE: Final = "LUXminer 2025.4.8.220305-57b389c7"


def status(code: int, message: str, *, error: bool = False) -> Reply:
    """The envelope every reply carries, here without payload."""
    entry = {
        "Code": code,
        "Description": FIRMWARE,
        "Msg": message,
        "STATUS": "E" if error else "S",
        "When": int(time.time()),
    }
    return {"STATUS": [entry], "id": 1}


def payload(key: str, rows: list[Any], code: int, message: str) -> Reply:
    """A successful reply with its payload under `key`."""
    return {key: rows, **status(code, message)}
