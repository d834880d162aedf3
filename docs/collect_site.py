"""Collects what the documentation site is made of, and writes the configuration with which mkdocs builds it.

The folders of the site are those of the repository, so a link between two pages is right in both. A page may link
to any file of the repository, such as a picture: the site holds a copy of it, because the repository has no
public address. The README's section "Documentation" is the navigation, and its words are the titles. Pages are
written for GitHub, which reads CommonMark; `adapted` rewrites what mkdocs, with Python-Markdown, would read
otherwise. This module checks nothing: mkdocs reports broken links, and pages that the README does not list. Only
`collect` and `main` write anything. `make docs` runs this.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
#: The folder with the part of the configuration that people write.
PARTS = Path("docs/site")
#: In the repository, and on the site. Only mkdocs can read it, so no page of the repository links to it.
API, API_PAGE = "docs/site/api.md", "docs/api.md"
#: Python-Markdown's only indentation, of whatever belongs to an item of a list.
INDENTATION = 4
_LINK = re.compile(r"\]\(([^)\s#]+)")
_LISTED = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)\)")
_ITEM = re.compile(r"(?:[*-]|\d+\.) +")
_CODE = re.compile(r"`[^`]*`")


def collect(root: Path, into: Path, site: Path) -> Path:
    """Copy the files of the site into the folder `into`, which is emptied first; return the configuration there.

    `root` is the repository. mkdocs will write the site into the folder `site`.
    """
    shutil.rmtree(into, ignore_errors=True)
    pages = into / "pages"
    for name, source in {**{name: name for name in files(root)}, API_PAGE: API}.items():
        copy = pages / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            copy.write_text(adapted((root / source).read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copyfile(root / source, copy)
    written = into / "mkdocs.yml"
    written.write_text(json.dumps(configuration(root, pages, site), indent=2), encoding="utf-8")
    return written


def files(root: Path) -> list[str]:
    """List the README, the pages of docs/, and all files that these link to, as paths from `root`."""
    waiting = ["README.md", *(str(page.relative_to(root)) for page in (root / "docs").glob("*.md"))]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += linked(root, name) if name.endswith(".md") else ()
    return sorted(found)


def linked(root: Path, page: str) -> list[str]:
    """List the files of the repository that a page links to. mkdocs reports links to anything else."""
    targets = _LINK.findall((root / page).read_text(encoding="utf-8"))
    names = (os.path.normpath(PurePosixPath(page).parent / target) for target in targets)
    return [name for name in names if not name.startswith("..") and (root / name).is_file()]


def navigation(readme: str) -> Iterator[str | dict[str, str]]:
    """Yield the pages in the README's order, with its words as titles; where it has a file's name, the heading."""
    yield {"Overview": "README.md"}
    for title, page in _LISTED.findall(readme.partition("\n## Documentation\n")[2]):
        yield page if title == page else {title: page}
        if page == "docs/reference.md":
            yield {"Python API": API_PAGE}


def configuration(root: Path, pages: Path, site: Path) -> dict[str, object]:
    """Return the part of the configuration that depends on folders, on the README and on the environment."""
    return {
        "INHERIT": str(root / PARTS / "mkdocs.yml"),
        "docs_dir": str(pages),
        "site_dir": str(site),
        "site_url": os.environ.get("SITE_URL", ""),
        "nav": list(navigation((root / "README.md").read_text(encoding="utf-8"))),
        "theme": {"custom_dir": str(root / PARTS / "theme")},
        "plugins": {"mkdocstrings": {"handlers": {"python": {"paths": [str(root)]}}}},
    }


def adapted(page: str) -> str:
    """Rewrite a page for Python-Markdown.

    The parts of an item of a list get the indentation that Python-Markdown expects, and an item after such a part
    an empty line before it. In a table, a `|` in code loses its backslash, which Python-Markdown would show.
    """
    return "".join(_adapted(page.splitlines(keepends=True)))


def _adapted(lines: list[str]) -> Iterator[str]:
    width = 0  # of the last item's bullet or number; 0 outside of a list
    is_fenced = has_parts = False  # within a fenced block; whether the last item has an empty line in it
    before = ""
    for line in lines:
        is_fenced ^= line.startswith("```")
        if not is_fenced and (item := _ITEM.match(line)):
            if has_parts and before.strip():
                yield "\n"
            width, has_parts = len(item[0]), False
        elif width and line.startswith(" " * width):
            has_parts |= not before.strip()
            yield " " * (INDENTATION - width)
        elif line.strip():
            width, has_parts = 0, False
        yield _CODE.sub(_without_backslashes, line) if line.lstrip().startswith("|") else line
        before = line


def _without_backslashes(code: re.Match[str]) -> str:
    return code[0].replace(r"\|", "|")


def main() -> None:
    """Collect the site of this repository in build/docs, for a site in site/."""
    sys.stdout.write(f"{collect(ROOT, ROOT / 'build' / 'docs', ROOT / 'site')}\n")


if __name__ == "__main__":
    main()
