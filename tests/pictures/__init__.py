"""The pictures in docs/pictures, each taken of the real thing: `make pictures`.

Each module takes PNGs into a folder, gives their names, and knows nothing of the others. Nothing is drawn by hand;
nothing is asserted, as they are looked at.

__main__.py       takes all, or those of the modules that are named
consolepages.py   RabbitMQ's management console
terminal.py       commands in a terminal
matrix.py         the matrix that `classifier train` plots
graphs.py         panels of the dashboards
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/pictures"
#: So that a page with all of them loads at once.
MAX_BYTES = 150_000
