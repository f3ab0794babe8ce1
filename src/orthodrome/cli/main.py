"""The command line: one file per verb, each thin. Nothing here imports torch until a verb runs."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from orthodrome import __version__
from orthodrome.cli import (
    align,
    bench,
    compare_all,
    compare_runs,
    data,
    embed,
    evaluate,
    figures,
    losses,
    quickstart,
    study,
    train,
)

app = typer.Typer(
    name="orthodrome",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, measure and use embeddings that live on a hypersphere.",
    epilog="Every verb has its own help: orthodrome train --help. Add --debug before the verb to see the traceback of an error.",
)

_debug = False


def _show_version(asked: bool) -> None:
    if asked:
        print(f"orthodrome {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


def register() -> None:
    """Give ``app`` its verbs, once."""
    if not app.registered_commands:
        for verb in (
            quickstart.quickstart,
            train.train,
            evaluate.evaluate,
            compare_runs.compare_runs,
            compare_all.compare_all,
            embed.embed,
            align.align,
            losses.losses,
            figures.figures,
            study.study,
        ):
            app.command()(verb)
        app.add_typer(data.data, name="data")
        app.add_typer(bench.bench, name="bench")


def main() -> None:
    """Run the command line; an error ends in one line on stderr and exit code 1, an interruption in exit code 130."""
    register()
    try:
        app()
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as ended:
        if _untold(ended):
            _interrupted()
        raise
    except Exception as error:
        if _debug:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def _untold(ended: SystemExit) -> bool:
    """Whether typer ended on an interruption, of which it says nothing: verbs that end on one themselves say how to go on."""
    return isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt)


def _interrupted() -> NoReturn:
    print("\ninterrupted", file=sys.stderr)
    sys.exit(130)  # as shells count the signal


def one_line(error: Exception) -> str:
    """The message of an error on one line; errors that are not about the user's input name their kind and point to --debug."""
    from orthodrome.types import InputError

    message = " ".join(str(error).split())
    if isinstance(error, InputError):
        return message
    return f"{type(error).__name__}: {message} (orthodrome --debug … shows the traceback)"
