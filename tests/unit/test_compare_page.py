"""What docs/compare.md says of another product names a source of that product. Figures are those of docs/speed.md.

Whether a source says what its cell says was looked up by hand: no test asks another site.
"""

from __future__ import annotations

import re

import pytest
from support.docs_pages.pages import prose_of, rows

PAGE = "docs/compare.md"
TABLES = ("messages", "running", "failures", "around")
#: The columns after ours: the letter of its sources, and where they are.
PRODUCTS = {
    "c": ("https://docs.celeryq.dev/", "https://github.com/clokep/celery-batches"),
    "f": ("https://faststream.ag2.ai/", "https://github.com/ag2ai/faststream"),
    "d": ("https://dramatiq.io/",),
    "t": ("https://taskiq-python.github.io/", "https://github.com/taskiq-python/"),
    "r": ("https://python-rq.org/", "https://github.com/rq/rq"),
    "x": ("https://github.com/corvus-ch/rabbitmq-cli-consumer",),
}
SOURCES = dict(re.findall(r"^\[([a-z-]+)\]: (\S+)$", prose_of(PAGE), re.MULTILINE))
#: The rows of the README's table, and the titles of the same rows in docs/speed.md, of which the best counts.
README_ROWS = {
    "ours, a function for one job": "ours",
    "ours, a function that accepts [batches](docs/batches.md)": "ours, function that accepts batches",
    "ours, batches, with the model as ONNX": "ours, ONNX, function that accepts batches",
    "ours, fresh worker per job": "ours, fresh worker per job",
    "ours, program per job": "ours, program per job",
    "Celery, the best of four settings": "Celery, [^|]*",
    "FastStream, the best of three settings": "FastStream, [^|]*",
}
USED = re.findall(r"\]\[([a-z-]+)\]", prose_of(PAGE))


@pytest.mark.parametrize("table", TABLES)
def test_each_cell_of_another_product_names_a_source_of_that_product_or_says_that_there_is_none(
    table: str,
) -> None:
    for title, ours, *others in rows(PAGE, table):
        assert ours
        for product, cell in zip(PRODUCTS, others, strict=True):
            named = re.findall(r"\]\[([a-z-]+)\]", cell)
            measured = title == "small jobs per second" and ("speed.md" in cell or cell == "not measured")
            assert named or measured or cell == "not documented", (title, cell)
            assert all(source.startswith(f"{product}-") for source in named), (title, cell)


def test_each_source_is_used_and_is_of_its_product() -> None:
    assert set(USED) == SOURCES.keys()
    for name, address in SOURCES.items():
        assert address.startswith(PRODUCTS[name[0]]), name


def jobs_per_second(title: str) -> list[list[float]]:
    """The figures of the rows with such a title, in each of the benchmark's tables: small jobs, then PLAID."""
    small, plaid = prose_of("docs/speed.md").split("**PLAID**")
    found = [re.findall(rf"^\| {title} \| ([\d.,]+) \|", text, re.MULTILINE) for text in (small, plaid)]
    return [[number(text) for text in table] for table in found]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_the_figures_are_those_of_the_benchmark() -> None:
    [cells] = [row for row in rows(PAGE, "around") if row[0] == "small jobs per second"]
    [plaid] = re.findall(r"a forest of 100 trees: ([^.]*)\.", prose_of(PAGE).replace("\n", " "))
    named = [[number(found) for found in re.findall(r"[\d,]*\d", text)] for text in (" ".join(cells), plaid)]
    titles = ("ours", "ours, function that accepts batches", "Celery, [^|]*", "FastStream, [^|]*")
    best = [[max(figures) for figures in jobs_per_second(title)] for title in titles]
    assert named == [list(figures) for figures in zip(*best, strict=True)]


def test_the_figures_of_the_readme_are_those_of_the_benchmark() -> None:
    table = rows("README.md", "speed")
    assert [title for title, *_ in table] == [*README_ROWS]
    for title, *cells in table:
        best = [max(figures, default=None) for figures in jobs_per_second(README_ROWS[title])]
        assert [None if cell == "-" else number(cell) for cell in cells] == best, title


def test_the_gain_of_batches_is_that_of_the_benchmark() -> None:
    titles = ("ours", "ours, function that accepts batches")
    named = [number(rate) for _, rate, _ in rows("docs/batches.md", "gain")]
    assert named == [figure for title in titles for figure in jobs_per_second(title)[1]]
