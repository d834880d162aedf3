"""Writes the service's settings into the schema of the chart's values, for `make reference`.

    python deploy/kubernetes/chart_schema.py

Helm compares all values with chart/values.schema.json before it renders anything. What the chart itself chooses is
described there by hand. `settings` of the consumers and of the gateway may be any other setting of the service, so
its part comes from consumer/config: a misspelt setting, or one out of its range, never reaches the cluster.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from consumer.config.settings import Settings
from consumer.config.units import SECONDS

FILE = Path(__file__).parent / "chart" / "values.schema.json"
#: The chart sets these itself, from values of their own or because they belong to the image.
OURS = {
    "amqp_url",
    "amqp_password_file",
    "amqp_ca_file",
    "prefix",
    "pool_size",
    "drain_grace_s",
    "job_dir",
    "http_host",
    "http_port",
    "gateway_host",
    "gateway_port",
    "gateway_token_file",
}
#: Never `pattern`: Go, in which Helm is written, has other regular expressions than Python.
_KEPT = ("type", "enum", "const", "items", "minimum", "maximum", "exclusiveMinimum")
_TIME = {"type": "string", "pattern": f"^[0-9.]+ *({'|'.join(SECONDS)})$"}
_SIZE = {"type": "string", "pattern": "^[0-9.]+ *[KMGTkmgt]?[Ii]?[Bb]?$"}
#: Settings are in a ConfigMap, which may be read by more people than a Secret: a URL there has no login.
_NO_LOGIN = {"management_url": {"pattern": "^[^@]*$"}}

Schema = dict[str, Any]


def settings() -> Schema:
    """Describe the settings that the chart leaves to its user."""
    known: dict[str, Schema] = Settings.model_json_schema()["properties"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _described(name, known[name]) for name in known if name not in OURS},
    }


def _described(name: str, setting: Schema) -> Schema:
    forms = [form for form in setting.get("anyOf") or setting.get("oneOf") or [setting] if form["type"] != "null"]
    shapes: list[Schema] = [{key: form[key] for key in _KEPT if key in form} for form in forms]
    for shape in shapes:
        if "items" in shape:
            shape["items"] = {"type": shape["items"]["type"]}
    if name.endswith(("_s", "_bytes")):
        shapes.append(_TIME if name.endswith("_s") else _SIZE)
    described = {"description": setting["description"], **_NO_LOGIN.get(name, {})}
    return described | (shapes[0] if len(shapes) == 1 else {"anyOf": shapes})


def text() -> str:
    """Make the whole schema anew: what is written by hand stays."""
    schema: Schema = json.loads(FILE.read_text())
    schema["$defs"]["settings"] = settings()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
