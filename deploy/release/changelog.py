"""Takes the notes of a version from CHANGELOG.md. Pure.

A release without notes is refused: the tag is set once, and users read the notes to decide whether they upgrade.
"""

from __future__ import annotations

import re

from programs import ReleaseError

#: A heading, with its version.
_SECTION = re.compile(r"^## \[?([^\]\s]+)\]?.*$", re.MULTILINE)


def notes_of(version: str, changelog: str) -> str:
    """Return the text of the section of a version, without its heading.

    Raises:
        ReleaseError: there is no such section, there are two, or it is empty.
    """
    _, *parts = _SECTION.split(changelog)
    sections = list(zip(parts[::2], parts[1::2], strict=True))
    found = [text.strip() for name, text in sections if name == version]
    if not found:
        known = ", ".join(name for name, _ in sections) or "none"
        raise ReleaseError(
            f"CHANGELOG.md has no section for version {version} (sections: {known}); "
            f"name the section of this release `## [{version}]`"
        )
    if len(found) > 1:
        raise ReleaseError(f"CHANGELOG.md has {len(found)} sections for version {version}; join them")
    if not found[0]:
        raise ReleaseError(f"CHANGELOG.md has nothing on version {version}; write what users will notice")
    return found[0]
