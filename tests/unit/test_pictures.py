"""The pictures in the documents are there and small; what takes them can be told its parts."""

from __future__ import annotations

import re
from pathlib import Path

import pyte
import pytest
from pictures import FOLDER, MAX_BYTES
from pictures.graphs import SHOWN, panel
from pictures.terminal import page
from PIL import Image

DOCS = FOLDER.parent
PICTURES = sorted(FOLDER.glob("*.png"))


def named() -> set[str]:
    """Name every picture that a page shows."""
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
    return {name for text in pages for name in re.findall(r"pictures/([\w-]+\.png)", text.read_text())}


@pytest.mark.parametrize("name", sorted(named()))
def test_a_picture_that_is_shown_is_there(name: str) -> None:
    assert (FOLDER / name).exists(), "run `make pictures`"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_is_a_png_that_loads_quickly(picture: Path) -> None:
    with Image.open(picture) as opened:
        opened.verify()
        assert opened.format == "PNG"
        assert min(opened.size) > 100
    assert picture.stat().st_size <= MAX_BYTES


@pytest.mark.parametrize("title", SHOWN)
def test_a_graph_that_is_drawn_is_a_panel_of_the_dashboard(title: str) -> None:
    assert panel(title).queries


def test_a_screen_is_drawn_with_its_colours_and_without_its_empty_lines() -> None:
    screen = pyte.Screen(100, 14)
    pyte.Stream(screen).feed("\x1b[31mred <b>\x1b[0m\r\n\x1b[38;2;1;2;255mrgb\x1b[0m")
    drawn = page(screen, "a & b")
    text = re.sub(r"<[^>]*>", "", drawn.partition("<pre>")[2])
    assert text.split("\n") == ["$ a &amp; b", "red &lt;b&gt;", "rgb"]
    assert '<span style="color:#f14c4c">red &lt;b&gt;</span>' in drawn
    assert '<span style="color:#0102ff">rgb</span>' in drawn
