"""The import graph: data flows one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import orthodrome

SOURCE = Path(orthodrome.__file__).parent
SEAMS = {"types", "registry", "files", "sphere", "fuse"}
ALLOWED = {
    "types": set(),
    "registry": {"types"},
    "files": {"types"},
    "sphere": {"types"},
    "fuse": set(),
    "losses": SEAMS,
    "heads": SEAMS | {"losses"},
    "backbones": SEAMS,
    "data": SEAMS,
    "evaluation": SEAMS | {"figures"},  # a report draws its pictures
    "figures": SEAMS | {"losses", "heads", "evaluation"},
    "pipeline": SEAMS | {"backbones", "data", "evaluation"},  # a trained model is used and judged; never trained
    "training": SEAMS | {"losses", "heads", "backbones", "data", "evaluation", "pipeline"},
    "__main__": {"cli"},
    "study": SEAMS | {"losses", "heads", "backbones", "data", "evaluation", "figures", "pipeline", "training"},
    "cli": SEAMS | {"losses", "heads", "backbones", "data", "evaluation", "figures", "pipeline", "training", "study"},
}


def rooms_imported(file: Path) -> set[str]:
    """First-level rooms of orthodrome that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "orthodrome" else [f"orthodrome.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("orthodrome.") and name.count(".") >= 1}
    return found


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_follow_the_direction(file: Path) -> None:
    room = room_of(file)
    if room == "__init__":
        return
    forbidden = {name for name in rooms_imported(file) - ALLOWED[room] - {room} if name in ALLOWED}
    assert not forbidden, f"{room} must not import {sorted(forbidden)}"


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split())


def test_importing_orthodrome_does_not_import_torch() -> None:
    modules = modules_after("import orthodrome")
    assert not modules & {"torch", "numpy", "PIL", "pydantic", "matplotlib"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["train", "--help"], ["losses", "--help"], ["evaluate", "--help"], ["data", "verify", "--help"]],
)
def test_help_and_version_do_not_import_torch(arguments: list[str]) -> None:
    code = f"sys.argv = ['orthodrome', *{arguments!r}]\nfrom orthodrome.cli.main import main\ntry:\n    main()\nexcept SystemExit: pass"
    assert not modules_after(code) & {"torch", "numpy", "PIL", "matplotlib"}


def test_public_names_are_inventoried() -> None:
    assert set(orthodrome.__all__) == {
        "EmbeddingSet",
        "InputError",
        "LossOutput",
        "PairHead",
        "Preprocessing",
        "ProxyHead",
        "__version__",
        "backbones",
        "create_backbone",
        "data",
        "evaluation",
        "figures",
        "heads",
        "load_model",
        "losses",
        "pipeline",
        "sphere",
        "training",
    }
    for name in orthodrome.__all__:
        assert getattr(orthodrome, name) is not None
