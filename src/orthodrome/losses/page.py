"""The documentation page of the losses, written from the table."""

from __future__ import annotations

from orthodrome.losses import resolve
from orthodrome.losses.describe import COMPARISONS, Description, describe, link_to, main_defaults, plain, taxonomy
from orthodrome.losses.meanings import MEANINGS

INTRODUCTION = """# Losses

This page is made by `orthodrome losses --markdown > docs/losses.md`, from the table the losses run from.

Every loss here is one formula. For a sample x with its class y, unit vectors x̂ and ŵ, θ_j the angle to class j and c = cos θ:

    p = s·φ(c_y) + b        N = ⊕_{j≠y} [ s·ν(c_j) + b ]
    ℓ = ω(Φ(p, N))        L = mean ℓ  (+ regularisers)

φ is what happens to the target cosine, ν to the others. The link (⊕, Φ) is *softmax* (logsumexp and ζ(N − p), the
cross-entropy) or *binary*
(Σ ζ and λ·ζ(−p) + (1 − λ)·N), with ζ(z) = log(1 + e^z). Pair losses are the same formula with other embeddings
instead of class proxies.
ω re-weights samples. In the formulas of pair losses c is a cosine, d a distance of unit vectors, LSE the logsumexp.

**The gradient is an axis of its own.** `gradient="exact"` differentiates φ and ν. `"detached"` has their values in
the forward pass and the
slope of the plain cosine in the backward pass. `"detach_margin"` holds only the margin constant. Published systems
disagree, and it changes training; each row says which one is its default and why.

The examples below start from

```python
import torch
from orthodrome import PairHead, ProxyHead

embeddings, labels = torch.randn(8, 512, requires_grad=True), torch.arange(8) // 2
```
"""


def markdown() -> str:
    """The whole page."""
    parts = [INTRODUCTION, _taxonomy(), _overview(), _arguments(), *(_section(describe(name)) for name in resolve.names())]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _taxonomy() -> str:
    cells = taxonomy()
    lines = ["## Taxonomy", "", "| | proxies | no proxies |", "|---|---|---|"]
    for comparison, meaning in COMPARISONS.items():
        columns = (", ".join(_anchor(name) for name in cells[comparison, proxies]) for proxies in ("proxies", "no proxies"))
        lines.append(f"| **{comparison}**: {meaning} | {' | '.join(columns)} |")
    return "\n".join(lines)


def _overview() -> str:
    lines = ["## All rows", "", "| name | formula | main defaults | paper |", "|---|---|---|---|"]
    for name in resolve.names():
        row = resolve.find_row(name)
        lines.append(f"| {_anchor(name)} | {_cell(row.formula)} | {_code(main_defaults(name))} | {link_to(row.paper)} |")
    return "\n".join(lines)


def _arguments() -> str:
    lines = ["## Arguments", "", "One name everywhere.", "", "| argument | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in MEANINGS.items()]
    common = plain({key: value for key, value in resolve.COMMON.items() if key != "gradient"})
    return "\n".join([*lines, "", f"Every proxy row also takes `gradient` and `{common}`; every pair row `loss_weight=1`."])


def _section(loss: Description) -> str:
    facts = [
        ("formula", loss.formula),
        ("also called", ", ".join(f"`{alias}`" for alias in loss.aliases)),
        ("defaults", _code(plain(loss.defaults))),
        ("variants", "; ".join(_code(variant) for variant in loss.variants)),
        ("gradient", loss.gradient),
        ("state", "; ".join(loss.state)),
        ("cell", " / ".join(loss.cell)),
        ("paper", link_to(loss.paper)),
    ]
    lines = [f"## {loss.name}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts if value]
    lines += ["", *(f"- {note}" for note in loss.notes), "", "```python", loss.example, "```"]
    if loss.presets:
        lines += ["", "| preset | how it departs |", "|---|---|"]
        lines += [f"| `{name}` | {departure} |" for name, departure in loss.presets]
    return "\n".join(lines)


def _anchor(name: str) -> str:
    return f"[{name}](#{name})"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
