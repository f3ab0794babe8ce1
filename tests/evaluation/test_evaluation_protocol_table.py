"""The table of protocols: its rows, their options, and what every row owes."""

from __future__ import annotations

import numpy as np
import pytest

import orthodrome.pipeline  # noqa: F401  (adds the row "bin")
from orthodrome.evaluation import PROTOCOLS, read_pairs
from orthodrome.types import EmbeddingSet, InputError

NOTHING = EmbeddingSet(np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.int64), ())


def test_rows_of_the_table() -> None:
    assert set(PROTOCOLS.names()) == {
        "lfw", "pairs", "cfp-fp", "cfp-ff", "agedb-30", "calfw", "cplfw", "ytf", "blufr", "identification", "tinyface", "megaface",
        "trillion-pairs", "ijbb", "ijbb-1n", "ijbc", "ijbc-1n", "fairness", "bin",
    }  # fmt: skip
    assert PROTOCOLS.get("pairs").read is read_pairs
    with pytest.raises(InputError, match="Did you mean 'lfw'"):
        PROTOCOLS.get("lwf")


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_every_row_says_what_it_is_and_needs(name: str) -> None:
    row = PROTOCOLS.get(name)
    assert row.name == name
    assert row.description
    assert row.needs
    assert all(len(values) > 1 for values in row.options.values())


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_lists_that_are_not_there_are_named(name: str, tmp_path: object) -> None:
    with pytest.raises(InputError, match="nowhere"):
        PROTOCOLS.get(name).read(f"{tmp_path}/nowhere")


def test_options_answer_with_near_matches() -> None:
    with pytest.raises(InputError, match=r"no option 'convnetion'.*Did you mean 'convention'"):
        PROTOCOLS.get("lfw").run(NOTHING, None, {"convnetion": "insightface"})
    with pytest.raises(InputError, match=r"option weighting cannot be 'nrm'.*Did you mean 'norm'"):
        PROTOCOLS.get("ijbc").run(NOTHING, None, {"weighting": "nrm"})
