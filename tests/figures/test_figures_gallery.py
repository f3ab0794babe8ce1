"""Every figure draws, is labelled, is written, and is on the gallery page; the command line refuses in one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

import typer
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner, Result

from orthodrome.cli.figures import figures
from orthodrome.figures import clouds, distributions
from orthodrome.figures.gallery import markdown, write_png
from orthodrome.figures.table import FIGURES
from orthodrome.types import InputError

DOCS = Path(__file__).parents[2] / "docs"
TRAINED = {
    clouds.plane_clouds,
    clouds.sphere_clouds,
    clouds.center_clouds,
    clouds.initial_center_runs,
    distributions.similarity_pairs,
}


def quick(compute: Callable[..., Any]) -> Callable[[], Any]:
    """The same data from a training of two steps."""
    return partial(compute, start=1, steps=1) if compute in TRAINED else compute


def words(figure: Figure) -> list[str]:
    return [text.get_text() for panel in figure.axes for text in (panel.title, panel.xaxis.label, panel.yaxis.label)]


@pytest.mark.parametrize("name", FIGURES.names())
def test_every_figure_draws_without_warnings_and_is_labelled(name: str, tmp_path: Path) -> None:
    row = FIGURES.get(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = row.draw(quick(row.compute)())
        path = write_png(figure, tmp_path / "deep" / f"{name}.png", dots_per_inch=50)
    assert figure.get_suptitle()
    assert figure.legends or any(panel.get_legend() for panel in figure.axes)
    framed = [panel for panel in figure.axes if panel.axison]
    assert all(any(getattr(p, f"get_{axis}label")() for p in framed) for axis in "xy" if framed)
    assert len(figure.axes) == 1 or all(panel.get_title() for panel in figure.axes)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 8
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_captions_are_sentences() -> None:
    for name in FIGURES:
        row = FIGURES.get(name)
        assert row.caption.endswith("."), name
        assert row.caption.count(". ") >= 1, name
        assert row.seconds >= 1


@pytest.mark.skipif(not DOCS.is_dir(), reason="the docs are not beside the tests")
def test_the_gallery_page_is_the_table() -> None:
    assert (DOCS / "figures.md").read_text(encoding="utf-8") == markdown(), "run: orthodrome figures --markdown > docs/figures.md"
    pictures = {file.stem: file.stat().st_size for file in (DOCS / "figures").glob("*.png")}
    assert pictures.keys() == set(FIGURES.names())
    assert max(pictures.values()) <= 150_000


# ------------------------------------------------------------------------------------------------------ command line


def run(*arguments: object) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(figures)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_list_names_every_figure() -> None:
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(FIGURES)


def test_figures_are_written_where_asked(tmp_path: Path) -> None:
    result = run("annealing", "similarity-adjustment", "-o", tmp_path / "out")
    assert result.exit_code == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["annealing.png", "similarity-adjustment.png"]
    assert all(name in result.stdout for name in written)


def test_all_makes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthodrome.figures.gallery.write_figure", lambda name, folder: folder / f"{name}.png")
    lines = run("--all", "-o", tmp_path).stdout.splitlines()
    assert [line for line in lines if line.endswith(".png")] == [str(tmp_path / f"{name}.png") for name in FIGURES]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "no figure named"), (("digits-plan", "annealing"), "Did you mean 'digits-plane'"), (("-o", "x"), "no figure named")],
)
def test_refusals(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("annealing", "-o", tmp_path / "file" / "folder")
    assert isinstance(result.exception, InputError)
    assert "cannot write" in str(result.exception)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = __import__("sys").modules
    for name in [name for name in modules if name.startswith(("matplotlib", "orthodrome.figures"))]:
        monkeypatch.delitem(modules, name)
    monkeypatch.setitem(modules, "matplotlib", None)
    result = run("--list")
    assert isinstance(result.exception, InputError)
    assert 'pip install "orthodrome[plots]"' in str(result.exception)
