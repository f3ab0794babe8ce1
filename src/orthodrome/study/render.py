"""Pages and pictures of a study as files."""

from __future__ import annotations

from pathlib import Path

from orthodrome.files import write_together
from orthodrome.study.distributions_page import distributions_page
from orthodrome.study.found import Found
from orthodrome.study.page import main_page
from orthodrome.study.pictures import pictures
from orthodrome.study.tuning_page import tuning_page


def pages(found: Found) -> dict[str, str]:
    """Markdown by file name."""
    name = found.plan.name
    return {
        f"{name}.md": main_page(found),
        f"{name}-tuning.md": tuning_page(found),
        f"{name}-distributions.md": distributions_page(found),
    }


def write_pages(found: Found, folder: Path) -> tuple[Path, ...]:
    """All pages and pictures of a study in ``folder``; pictures of an earlier rendering that are no longer shown are removed."""
    contents = {name: text.encode() for name, text in {**pages(found), **pictures(found)}.items()}
    written = write_together(folder, contents)
    for old in folder.glob(f"{found.plan.name}-*.svg"):
        if old.name not in contents:
            old.unlink()
    return written
