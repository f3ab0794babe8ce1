"""The page of what lies behind the rates: angles, norms, similarities, support vectors, class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orthodrome.study.found import Found, systems, titled
from orthodrome.study.rows import Row
from orthodrome.study.settings import HELD_OUT, GroupSettings
from orthodrome.study.wording import EMPTY, NOT_RUN, percent, points, table


@dataclass(frozen=True)
class Column:
    """A column of the tables of this page: its title, and what it shows of a row."""

    title: str
    show: Callable[[Row], str]


def _plus_minus(name: str, row: Row) -> str:
    return f"{row[name]} ± {row[f'{name}_sd']}" if row[name] else EMPTY


SHAPES = (
    Column("angle of genuine pairs, °", partial(_plus_minus, "genuine_angle")),
    Column("angle of impostor pairs, °", partial(_plus_minus, "impostor_angle")),
    Column("norm", partial(_plus_minus, "norm")),
    Column("target similarity in training, at its end (a logit of softmax)", lambda row: row["final_target_cosine"] or EMPTY),
)
PROBABILITIES = (
    Column("images", lambda row: row["unseen_images"]),
    Column("accuracy", lambda row: percent(row["unseen_accuracy"])),
    Column("mean confidence", lambda row: percent(row["confidence"])),
    Column("confidence − accuracy", lambda row: points(float(row["confidence"]) - float(row["unseen_accuracy"]))),
    Column("calibration error", lambda row: percent(row["calibration_error"])),
    Column("Cllr, bits", lambda row: f"{float(row['unseen_cllr']):.3f}"),
)


TEXTS = {
    "similarities": "All comparisons of the test faces, in a hundred bins of the cosine.",
    "support": "Share of the (image, other class) pairs with cos θ_j above the target φ(cos θ_y) of the loss, and of the images with at "
    "least one such class, on the same training images after each epoch, with the network as it is used. Losses with the binary link "
    "compare no class with another.",
    "probabilities": "Of images of the training people that were not trained on: softmax over the classes, or one sigmoid for each "
    "class of SphereFace2, without margins. Confidence is the probability of the most likely class; the calibration error is the mean "
    "distance of confidence from accuracy over 15 equally full bins; Cllr is that of each (image, class) decision.",
}


def distributions_page(found: Found) -> str:
    """Of one seed of each distinct system of the judged groups."""
    shown = first_seeds(found)
    with_classes = [(name, row) for name, row in shown if row["unseen_images"]]
    parts = [
        f"# {found.plan.settings.title or found.plan.name}: distributions",
        "One seed of each system. Angles and norms are those of the embeddings of the test faces, image and mirror image added.",
        "## Angles and norms",
        _columns_table(shown, SHAPES),
        "## Similarities",
        TEXTS["similarities"],
        *_similarity_pictures(found),
        "## Support vectors",
        TEXTS["support"],
        _support_table(found, shown),
        "## Class probabilities",
        TEXTS["probabilities"],
        _columns_table(with_classes, PROBABILITIES),
    ]
    return "\n\n".join(parts) + "\n"


def _similarity_pictures(found: Found) -> list[str]:
    names = [group.name for group in found.plan.groups if histograms(found, group)]
    pictures = [f"![Similarities, {name}]({found.plan.name}-{name}-similarities.svg)" for name in names]
    return pictures or [f"{NOT_RUN.capitalize()}."]


def first_seeds(found: Found) -> list[tuple[str, Row]]:
    """A row of each distinct system of the judged groups, by name and data."""
    lines: dict[str, tuple[str, Row]] = {}
    for group in found.plan.groups:
        if group.judge == HELD_OUT:
            continue
        for system in systems(found, group):
            for row in system.judged[:1]:
                lines.setdefault(row["digest"], (titled(system.name, system.variation), row))
    return list(lines.values())


def histograms(found: Found, group: GroupSettings) -> list[tuple[str, list[float], list[float]]]:
    """Name, genuine and impostor counts of each system of a judged group; none of a tuning group."""
    shown = []
    for system in systems(found, group) if group.judge != HELD_OUT else []:
        for row in system.judged[:1]:
            counts = [found.curves.get((row["digest"], kind)) for kind in ("genuine", "impostor")]
            if counts[0] and counts[1]:
                shown.append((titled(system.name, system.variation), counts[0], counts[1]))
    return shown


def _columns_table(shown: Sequence[tuple[str, Row]], columns: Sequence[Column]) -> str:
    if not shown:
        return f"{NOT_RUN.capitalize()}."
    return table(
        ["loss", *(column.title for column in columns)], ([name, *(c.show(row) for c in columns)] for name, row in shown)
    )


def _support_table(found: Found, shown: Sequence[tuple[str, Row]]) -> str:
    lines = []
    for name, row in shown:
        pairs, samples = (found.curves.get((row["digest"], curve)) for curve in ("support_pairs", "support_samples"))
        if pairs and samples:
            lines.append([name, _along(pairs), _along(samples)])
    return (
        table(["loss", "pairs, % after each epoch", "images, % after each epoch"], lines) if lines else f"{NOT_RUN.capitalize()}."
    )


def _along(shares: Sequence[float]) -> str:
    """At most six of them, evenly, the last one included."""
    step = max(1, -(-len(shares) // 6))
    picked = list(shares[::-1][::step])[::-1]
    return " → ".join(f"{100 * share:.3g}" for share in picked)
