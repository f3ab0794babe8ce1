"""The main page of a study, made of its rows alone: no number is typed, and what was not run is an empty cell."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from orthodrome.losses.describe import plain
from orthodrome.study.found import Difference, Found, System, differences, systems
from orthodrome.study.rows import Row
from orthodrome.study.settings import HELD_OUT, GroupSettings
from orthodrome.study.verdicts import shown_order
from orthodrome.study.wording import EMPTY, NOT_RUN, data_of, interval_of, listed, mean, percent, points, table

LABELS = {"eer": "EER", "tar_1e-2": "TAR at FAR 1e−2", "tar_1e-3": "TAR at FAR 1e−3"}
BETTER = {1: "the first", -1: "the second", 0: "not shown"}


def main_page(found: Found) -> str:
    """Each group with its table and its paired differences."""
    settings = found.plan.settings
    parts = [f"# {settings.title or settings.name}", *filter(None, [settings.about]), _state(found), _protocol(found)]
    for group in found.plan.groups:
        if group.judge == HELD_OUT:
            continue
        parts += [f"## {group.name}", *filter(None, [group.about]), results_table(found, group), *_differences(found, group)]
    parts.append(_links(found))
    return "\n\n".join(parts) + "\n"


def _state(found: Found) -> str:
    digests = {cell.digest for group in found.plan.groups for cell in found.cells(group)}
    done = [found.rows[digest] for digest in digests & found.rows.keys()]
    waiting = sum(found.plan.count(group) - len(found.cells(group)) for group in found.plan.groups)
    open_cells = len(digests) - len(done)
    text = f"{len(done)} cells are done, {open_cells} are not run" + (
        f", and up to {waiting} wait for tuning." if waiting else "."
    )
    if not done:
        return text
    minutes = sum(float(row["minutes"]) / int(row["workers"]) for row in done)
    machines = sorted({f"{row['machine']}, {row['workers']} × {row['threads']} threads" for row in done})
    commits = sorted({row["commit"] for row in done})
    return f"{text} They took {minutes:.0f} minutes of the machine ({'; '.join(machines)}; commit {', '.join(commits)})."


def _protocol(found: Found) -> str:
    settings = found.plan.settings
    groups = [group for group in found.plan.groups if group.judge != HELD_OUT]
    rows = [row for group in groups for row in map(found.row, found.cells(group)) if row is not None]
    seen = {
        key: sorted({row[key] for row in rows if row[key]})
        for key in ("network", "size", "batch_size", "training_set", "test_set")
    }
    counts = sorted({f"{int(row['genuine']):,} genuine and {int(row['impostor']):,} impostor" for row in rows if row["genuine"]})
    lines = [
        f"Network: {listed(seen['network'])}; images of {listed(seen['size'])} pixels, in batches of {listed(seen['batch_size'])}.",
        f"Training set: {listed(seen['training_set'])}.",
        f"Judged on {listed(seen['test_set'])}: all {listed(counts)} comparisons, counted exactly.",
    ]
    rules = [
        f"{settings.unseen_images} image of each person is kept out of training, to judge class probabilities on."
        if settings.unseen_images == 1
        else f"{settings.unseen_images} images of each person are kept out of training, to judge class probabilities on.",
        f"Settings are chosen on {settings.held_out.identities} held-out people of the training set by TAR at FAR 1 %; see "
        f"[tuning]({found.plan.name}-tuning.md).",
        f"In brackets: 95 % intervals by identity, {settings.resamples} resamples of the people of the test set, the same for all, so that "
        "differences are paired.",
        "Accuracy is that of the list of pairs over its folds, ± its standard error.",
        "With several seeds a line shows their mean, and the lowest and highest of them after *seeds*.",
    ]
    return "\n".join(f"- {line}" for line in [*(lines if rows else []), *rules])


def results_table(found: Found, group: GroupSettings) -> str:
    """One line for each system."""
    varied = len(group.noise) > 1 or len(group.identities) > 1 or group.noise != [0.0] or group.identities != [None]
    header = [
        "loss",
        *(["data"] if varied else []),
        "settings",
        "seeds",
        "EER",
        "TAR at FAR 1e−2",
        "TAR at FAR 1e−3",
        "accuracy",
        "min",
    ]
    return table(header, (_result_line(system, varied) for system in systems(found, group)))


def _result_line(system: System, varied: bool) -> list[str]:
    data = [data_of(system.variation)] if varied else []
    rows = system.judged
    if not rows:
        failed = next((row["failed"] for row in system.rows), "")
        return [system.name, *data, "", "", f"diverged: {failed}" if failed else NOT_RUN, "", "", "", ""]
    settings = plain(json.loads(rows[0]["hyper"])) or "defaults"
    settings += f"; rate {rows[0]['learning_rate']}"
    figures = [_rate(rows, figure) for figure in LABELS]
    accuracy = f"{percent(mean(rows, 'accuracy'))} ± {percent(mean(rows, 'accuracy_error'))}"
    minutes = statistics.median(float(row["minutes"]) for row in rows)
    return [system.name, *data, settings, " ".join(row["seed"] for row in rows), *figures, accuracy, f"{minutes:.1f}"]


def _rate(rows: Sequence[Row], figure: str) -> str:
    if not all(row[figure] for row in rows):
        return EMPTY
    middle = percent(mean(rows, figure))
    if len(rows) == 1:
        low, high = (rows[0][f"{figure}_{end}"] for end in ("low", "high"))
        return f"{middle} ({percent(low)}–{percent(high)})" if low else middle
    values = sorted(float(row[figure]) for row in rows)
    return f"{middle}, seeds {percent(values[0])}–{percent(values[-1])}"


def _differences(found: Found, group: GroupSettings) -> list[str]:
    asked = list(differences(found, group))
    if not asked:
        return []
    header = ["first", "second", "data", "seeds", *(f"{label}: first − second" for label in LABELS.values()), "better by EER"]
    picture = (
        f"![Paired differences]({found.plan.name}-{group.name}.svg)" if any(difference.drawn for difference in asked) else ""
    )
    return ["Paired differences, in percentage points:", table(header, map(_difference_line, asked)), *filter(None, [picture])]


def _difference_line(difference: Difference) -> list[str]:
    named = [difference.first, difference.second, data_of(difference.variation)]
    if not difference.rows:
        return [*named, "", NOT_RUN, "", "", ""]
    errors = difference.rows["eer"]
    return [*named, errors["seeds"], *(_signed(difference.rows.get(figure)) for figure in LABELS), BETTER[shown_order(errors)]]


def _signed(row: Row | None) -> str:
    return EMPTY if row is None else f"{points(row['difference'])} ({interval_of(row)})"


def _links(found: Found) -> str:
    name = found.plan.name
    return (
        f"[How settings were chosen]({name}-tuning.md). [Angles, norms, similarities, support vectors and class probabilities]"
        f"({name}-distributions.md).\n\nMade by `orthodrome study {found.plan.path.name} --render` of the committed rows."
    )
