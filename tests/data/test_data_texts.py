"""Texts in one buffer."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.data.texts import texts_of


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_come_back(given_texts: list[str]) -> None:
    texts = texts_of(given_texts)
    assert list(texts) == given_texts
    assert list(pickle.loads(pickle.dumps(texts))) == given_texts
    assert texts[1:3] == given_texts[1:3]
    assert texts.buffer.nbytes + texts.ends.nbytes == len("".join(given_texts).encode()) + 8 * (len(given_texts) + 1)


@pytest.mark.parametrize("index", [2, -1])
def test_no_such_text(index: int) -> None:
    with pytest.raises(IndexError, match=f"text {index} of 2"):
        texts_of(["a", "b"])[index]
