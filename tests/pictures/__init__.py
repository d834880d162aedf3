"""The pictures in docs/pictures, each taken of the real thing: `make pictures`.

A module for each place that pictures are taken in: `consolepages`, `terminal`, `matrix`, `graphs`. Each takes
PNGs into a folder, gives their names, and knows nothing of the others. Nothing is drawn by hand; nothing is
asserted, as they are looked at.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/pictures"
#: So that a page with all of them loads at once.
MAX_BYTES = 150_000
