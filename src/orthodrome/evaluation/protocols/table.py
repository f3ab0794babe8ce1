"""What a row of the table of protocols is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orthodrome.evaluation.outcome import Result
from orthodrome.registry import Registry, near_matches
from orthodrome.types import EmbeddingSet, ImageSource, InputError, PathLike


@dataclass(frozen=True)
class EvaluationProtocol:
    """How one protocol runs, in three steps.

    ``read``: its list file, or the folder of its lists -> the lists. ``images``: the lists, the folder of images -> the images to embed,
    by id. ``evaluate``: their embeddings (ids as in ``images``), the lists, and the ``options`` by name -> the result, with ``summary()``
    and ``to_report()``. ``needs`` says which lists, in words. ``options``: name -> the values it takes, the default first.
    ``holds_images``: the list holds the images, and the folder given to ``images`` is not read. ``people``: the lists, embeddings
    -> the person of each as the lists name them, empty where they do not, None for images that are not listed; None where they name nobody.
    ``tells_progress``: ``evaluate`` takes a ``progress`` too, called with (comparisons done, all) anew in each pass; for what may count
    for hours.
    """

    name: str
    description: str
    read: Callable[[PathLike], Any]
    images: Callable[[Any, PathLike], Mapping[str, ImageSource]]
    evaluate: Callable[..., Result]
    needs: str = ""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holds_images: bool = False
    people: Callable[[Any, EmbeddingSet], Sequence[str | None] | None] = lambda lists, embeddings: None
    tells_progress: bool = False

    def run(
        self,
        embeddings: EmbeddingSet,
        lists: Any,
        options: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Result:
        """`evaluate` under ``options``, checked as `chosen` does; ``progress`` is told where the protocol tells any."""
        told = {"progress": progress} if self.tells_progress else {}
        return self.evaluate(embeddings, lists, **self.chosen(options), **told)

    def chosen(self, options: Mapping[str, str] | None) -> dict[str, str]:
        """The value of every option; raises InputError, with near matches, for an option or a value it does not have."""
        chosen = {name: values[0] for name, values in self.options.items()}
        for name, value in (options or {}).items():
            if name not in self.options:
                raise InputError(f"protocol {self.name!r} has no option {name!r}.{near_matches(name, self.options)}")
            if value not in self.options[name]:
                raise InputError(f"option {name} cannot be {value!r}.{near_matches(value, self.options[name])}")
            chosen[name] = value
        return chosen


PROTOCOLS: Registry[EvaluationProtocol] = Registry("protocol")
"""All protocols. The rows of `orthodrome.evaluation.protocols`, and ``bin``, which `orthodrome.pipeline` adds."""
