"""The pictures of a study's pages, as SVG text that is the same for the same rows. Needs matplotlib (extra ``plots``)."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from orthodrome.figures.style import FIRST, INK, SECOND, keyed, sheet, titled
from orthodrome.study.distributions_page import histograms
from orthodrome.study.found import Difference, Found, differences


def pictures(found: Found) -> dict[str, str]:
    """SVG by file name: the paired differences and the similarities of each group that has any."""
    name = found.plan.name
    drawn = {}
    for group in found.plan.groups:
        if known := [difference for difference in differences(found, group) if difference.drawn]:
            drawn[f"{name}-{group.name}.svg"] = svg(draw_differences(group.name, known))
        if systems := histograms(found, group):
            drawn[f"{name}-{group.name}-similarities.svg"] = svg(draw_similarities(group.name, systems))
    return drawn


def svg(figure: Figure) -> str:
    """As text: no date, no random names, words as words."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "orthodrome", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, facecolor="white")
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def draw_differences(title: str, known: Sequence[Difference]) -> Figure:
    """EER of the first minus that of the second, with its interval; left of 0 the first is better."""
    figure, panels = sheet(f"{title}: paired differences of the EER", 1, 1, (8, 1.3 + 0.3 * len(known)))
    axes = panels[0, 0]
    places = np.arange(len(known))
    values, low, high = (
        np.array([100 * float(difference.rows["eer"][key]) for difference in known]) for key in ("difference", "low", "high")
    )
    shown = (low > 0) | (high < 0)
    for mark, colour in ((shown, FIRST), (~shown, "#8a949e")):
        reach = np.abs(np.stack([low, high]) - values)[:, mark]
        axes.errorbar(values[mark], places[mark], xerr=reach, fmt="o", color=colour, markersize=4, capsize=2, elinewidth=1.4)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(places, [difference.title for difference in known])
    axes.invert_yaxis()
    titled(axes, "", "percentage points of EER; left of 0 the first is better (grey: the interval holds 0)")
    return figure


def draw_similarities(title: str, systems: Sequence[tuple[str, list[float], list[float]]]) -> Figure:
    """Genuine and impostor comparisons over the cosine, a panel for each system."""
    columns = min(3, len(systems))
    rows = -(-len(systems) // columns)
    figure, panels = sheet(f"{title}: cosines of all comparisons", rows, columns, (3.2 * columns, 0.6 + 1.9 * rows), sharex=True)
    for axes, (name, genuine, impostor) in zip(panels.flat, systems, strict=False):
        for label, counts, colour in (("impostor", impostor, SECOND), ("genuine", genuine, FIRST)):
            edges = np.linspace(-1, 1, len(counts) + 1)
            density = np.array(counts) / sum(counts) / (edges[1] - edges[0])
            axes.stairs(density, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(density, edges, color=colour, linewidth=1.2, label=label)
        axes.set(xlim=(-1, 1))
        titled(axes, name)
    for axes in panels.flat[len(systems) :]:
        axes.set_visible(False)
    keyed(panels.flat[0])
    return figure
