"""Every Python example in the README and the docs is run; every command line in them is one the program knows."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer.main

from orthodrome.cli.main import app, register
from orthodrome.data import open_reader
from orthodrome.pipeline import save_embeddings
from orthodrome.training import load_recipe, train

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN_ELSEWHERE = {"add-a-loss.md"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, small_faces: Path) -> Path:
    """A directory as the examples expect it: faces, test-faces, runs/mine, faces.npz."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("faces", "test-faces"):
        shutil.copytree(small_faces, folder / name)
    settings = [
        "backbone.name=sfnet4",
        "backbone.width=0.125",
        "data.size=32",
        "batch_size=12",
        "schedule.epochs=1",
        "data.workers=0",
    ]
    model = train(load_recipe(None, settings), open_reader(folder / "faces"), folder / "runs" / "mine").model
    save_embeddings(model.embed(open_reader(folder / "faces"), workers=0), folder / "faces.npz")
    return folder


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in RUN_ELSEWHERE and blocks(page, "python")], ids=lambda page: page.name
)
def test_python_examples_run(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    for number, code in enumerate(blocks(page, "python"), start=1):
        exec(compile(code, f"{page.name}, example {number}", "exec"), names)


COMMANDS = [
    (page.name, line[2:])
    for page in PAGES
    for text in blocks(page, "console")
    for line in text.splitlines()
    if line.startswith("$ orthodrome")
]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: str(value)[:60])
def test_commands_in_the_docs_exist(page: str, command: str) -> None:
    register()
    words = shlex.split(command.split("  #")[0].rstrip("\\"))
    verb, rest = typer.main.get_command(app), words[1:]
    while hasattr(verb, "commands"):  # a verb may be a group of verbs
        verb = verb.commands[rest.pop(0)]
    known = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= known | {"--help"}
    for word in words:
        if word.startswith("recipes/"):
            assert (ROOT / word).is_file()


def test_the_tables_of_the_readme_are_rendered_from_their_sources() -> None:
    specification = importlib.util.spec_from_file_location("render_readme", ROOT / "docs" / "render_readme.py")
    assert specification
    assert specification.loader
    renderer = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(renderer)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert renderer.render(text) == text, "run: python docs/render_readme.py"
