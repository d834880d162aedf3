"""The definitions that an operator imports: deploy/rabbitmq/definitions.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[3] / "deploy" / "rabbitmq" / "definitions.json"
DEFINITIONS: dict[str, Any] = json.loads(FILE.read_text())
VHOST = "classifier"
USERS = ("consumer", "producer", "operator", "gateway", "scaler")
