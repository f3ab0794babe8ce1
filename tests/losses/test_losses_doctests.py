"""The examples in the documentation strings run."""

from __future__ import annotations

import doctest

import pytest

from orthodrome import registry
from orthodrome.heads import pair, proxy
from orthodrome.losses import resolve


@pytest.mark.parametrize("module", [registry, resolve, proxy, pair], ids=lambda module: module.__name__)
def test_examples(module) -> None:
    result = doctest.testmod(module, extraglobs={"torch": __import__("torch")}, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted
    assert result.failed == 0
