"""ONE LINE PER FIGURE: its name, what computes its numbers, what draws them, what to see, what it costs.

``FIGURES.get(name).draw(FIGURES.get(name).compute())`` is the picture; ``orthodrome figures NAME -o DIR`` writes it. Figures of an
evaluation need one and are drawn by ``evaluation.py`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from orthodrome.figures import boundaries, cloud_pictures, clouds, curves, distributions, shapes
from orthodrome.registry import Registry


@dataclass(frozen=True)
class FigureRow:
    """A figure: ``compute`` makes the data, ``draw`` the picture of it; ``title`` and ``caption`` say what it is and what to see in it.

    ``seconds`` is about what it takes on one core.
    """

    title: str
    compute: Callable[[], Any]
    draw: Callable[[Any], Figure]
    caption: str
    seconds: int = 1


FIGURES: Registry[FigureRow] = Registry("figure")

for _name, _row in {
    "target-logits": FigureRow("Target logits", curves.target_curves, curves.draw_target_curves,
        "Every margin lies below cos θ: for the same logit the angle to the own proxy must be smaller. "
        "CosFace lowers the curve by the same amount everywhere, ArcFace shifts it (its small step at π − m is the linear fallback), "
        "A-Softmax and SphereFace-R squeeze it, SphereFace2 bends it by g as well; rows with the same curve share a line."),
    "mining": FigureRow("Mining", curves.mining_curves, curves.draw_mining_curves,
        "Left, mining by class: a class that is nearer to the sample than its (margin) target is raised, up to the dot, and left alone "
        "beyond; the margin of SV-AM and SV-Arc moves the dot out and so enlarges what counts as hard. "
        "Right, mining by sample: hard mining cuts at a loss, focal weighting fades."),
    "boundaries-plane": FigureRow("Decision boundaries over two angles", boundaries.plane_boundaries, boundaries.draw_plane_boundaries,
        "Where a sample of either class satisfies its loss; what lies between belongs to neither and is the margin. "
        "It is a wedge that grows with the angle for A-Softmax, a band of constant width for ArcFace, and for SphereFace2 one threshold "
        "for each proxy on its own, which the bias moves. Softmax has norms 1 and 1.6 and biases 0 and 0.3."),
    "boundaries-circle": FigureRow("Decision boundaries on the circle", boundaries.circle_cuts, boundaries.draw_circle_cuts,
        "The same losses around two proxies 120° apart: A-Softmax with m = 3 leaves (m − 1)/(m + 1) of that, 60°, to neither class. "
        "SphereFace2 cuts the circle by two parallel lines for each proxy, p = 0 and n = 0: without bias they lie around the middle, "
        "a negative bias moves both towards the proxy."),
    "loss-over-similarity": FigureRow("SphereFace2: scale", shapes.loss_curves, shapes.draw_loss_curves,
        "At r = 1 an easy and a hard sample pull almost alike; a large r turns the loss into a hinge that leaves the easy one in peace. "
        "Dividing by r keeps the largest slope at 1."),
    "similarity-adjustment": FigureRow("SphereFace2: similarity adjustment", shapes.adjustment_curves, shapes.draw_adjustment_curves,
        "g keeps −1 and 1 where they are and presses what lies between towards −1. "
        "Similarities of negatives crowd together at the bottom while positives near 1 are stretched, the more the larger t."),
    "sphereface2-geometry": FigureRow("SphereFace2: r, b, m and t", shapes.geometry, shapes.draw_geometry,
        "The three cuts through the sphere on the left are the three zeros on the right. r is the radius and the slope, b shifts the "
        "baseline boundary, m sets the two parallel boundaries 2m apart in g, and t bends the curve and so draws all cuts to the proxy."),
    "annealing": FigureRow("A-Softmax: annealing", shapes.annealing, shapes.draw_annealing,
        "λ falls from 1000 to 5 within about 1,660 steps and stays there. "
        "ψ, the margin the method is about, starts below a thousandth of the target logit and never gets more than 1/6 of it."),
    "digits-plane": FigureRow("Embeddings on the plane", clouds.plane_clouds, cloud_pictures.draw_plane_clouds,
        "Softmax separates points, but its test clouds touch; center loss packs them; under A-Softmax the arcs on the ring become narrower "
        "as m grows, and the losses with a margin and a fixed scale draw rays 36° apart. "
        "In each title: accuracy, the mean angle to the mean of the class, and the smallest angle between two classes.", 25),
    "digits-sphere": FigureRow("Embeddings on the sphere", clouds.sphere_clouds, cloud_pictures.draw_sphere_clouds,
        "The same ten trainings with one dimension more; faint points are on the far side. "
        "Classes shrink as A-Softmax's m grows, and CosFace and ArcFace keep the nearest classes farthest apart.", 25),
    "center-lambda": FigureRow("Center loss over λ", clouds.center_clouds, cloud_pictures.draw_center_clouds,
        "The larger λ, the smaller the clouds, and the nearer the classes: compactness is bought with separation (mind the axes). "
        "In each title: accuracy, the size of a class, and the smallest distance between two, in units of the embedding.", 14),
    "center-starts": FigureRow("Center loss over initial centres", clouds.initial_center_runs, cloud_pictures.draw_initial_centers,
        "Training images, with the initial centres as crosses. Moved at the published rate α = 0.5 most starts are forgotten, though "
        "centres that begin on another class still leave classes close together; moved slowly, the start decides: "
        "far centres drag all classes into one corner.", 18),
    "similarity-distributions": FigureRow("SphereFace2: similarities of pairs", distributions.similarity_pairs,
        distributions.draw_similarity_pairs,
        "Two trainings on the digits in 16 dimensions that differ in t alone, measured on all pairs of test images. "
        "With adjustment both spread a little less and lie further apart in units of their spread (d′), and negatives are no longer "
        "pushed beyond 90°; the tails that cross are the images that are misread.", 5),
}.items():  # fmt: skip
    FIGURES.add(_name, _row)
