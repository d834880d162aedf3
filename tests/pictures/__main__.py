"""Takes all pictures, or those of the places that are named: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image
from support.rabbitmq.management_api import Management, create_vhost, delete_vhost
from support.rabbitmq.orphans import nodes_end_with_us

from consumer.local_broker import node as local_broker
from pictures import FOLDER, MAX_BYTES, consolepages, graphs, matrix, terminal

COLOURS = 96
#: Place -> what takes its pictures, in a vhost of its own and a folder.
PLACES: dict[str, Callable[[Management, Path], Iterator[str]]] = {
    "console": consolepages.pictures,
    "terminal": lambda management, folder: terminal.pictures(_url(management), folder),
    "matrix": lambda _, folder: matrix.pictures(folder),
    "graphs": lambda management, folder: graphs.pictures(_url(management), folder),
}


def _url(management: Management) -> str:
    return management.node.vhost_url(management.vhost)


def main(places: list[str]) -> None:
    """Take the pictures of these places."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as made, nodes_end_with_us(Path(made)):
        root = Path(made)
        try:
            node = local_broker.up(root / "rabbitmq", report=print)
            for place in places:
                create_vhost(node, place)
                (root / place).mkdir()
                for name in PLACES[place](Management(node, place), root / place):
                    _keep(root / place / f"{name}.png")
                delete_vhost(node, place)  # or the console would show its queues
        finally:
            local_broker.down(root / "rabbitmq", timeout_s=0)


def _keep(picture: Path) -> None:
    """Keep it with few colours: a screen has no more, and a file a third of the bytes."""
    kept = FOLDER / picture.name
    Image.open(picture).convert("RGB").quantize(COLOURS).save(kept, optimize=True)
    size = kept.stat().st_size
    print(f"{kept.name}: {size / 1000:.0f} kB" + (", too large" if size > MAX_BYTES else ""))


if __name__ == "__main__":
    main(sys.argv[1:] or list(PLACES))
