"""Checks the models folder of the service's own classifier: whether it has models, and who may write to it.

It reads no model, because classifier.py loads all of them. A classifier of the user loads what it likes.
"""

from __future__ import annotations

import stat
from pathlib import Path

from consumer.config.settings import Settings
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, failure, ok, warning
from consumer.service.consumer_info import is_own

#: The end of a model's file name, in each form (classifier/models/model.py).
MODEL_SUFFIX = ".model"


def no_models(settings: Settings) -> Finding | None:
    """Return a failure if the service's own classifier is selected and has no model; otherwise None."""
    if not is_own(settings) or any(settings.models_dir.glob(f"*{MODEL_SUFFIX}")):
        return None
    folder = settings.models_dir.absolute()
    return failure(
        f"no models in {folder}" + ("" if folder.is_dir() else ", which is no folder"),
        "make one with `classifier train`, set CONSUMER_MODELS_DIR, or name a classifier of your own "
        "(CONSUMER_CLASSIFIER or CONSUMER_COMMAND)",
    )


async def models(site: Site) -> list[Finding]:
    """Check that there are models, and that they are not world-writable, or are pinned."""
    settings = site.settings
    if not is_own(settings):
        return [ok("are loaded by the classifier itself")]
    missing = await in_daemon_thread(lambda: no_models(settings))
    folder = settings.models_dir.absolute()
    pins = settings.trusted_models or folder.with_name(folder.name + ".trusted")
    open_to_all = await in_daemon_thread(lambda: [path for path in (folder, pins) if _is_open_to_all(path)])
    warnings = [
        warning(f"every user may write to {path}, and so choose the models that are loaded", f"chmod o-w {path}")
        for path in open_to_all
    ]
    return [*([missing] if missing else []), *warnings] or [
        ok(f"{folder}, trusted by {pins}; neither is world-writable")
    ]


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IWOTH)
    except OSError:  # no_models reports a missing folder, and the check that loads the classifier missing pins
        return False
