"""The folder of the installed commands, and the environment of a consumer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: The folder of the commands that are installed beside this Python.
BIN = Path(sys.executable).parent


def environment(url: str, **settings: object) -> dict[str, str]:
    """Make the environment of a consumer: that of this process without CONSUMER_*, and the given settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    chosen = {f"CONSUMER_{name.upper()}": str(value) for name, value in settings.items()}
    return {**inherited, "CONSUMER_AMQP_URL": url, **chosen}
