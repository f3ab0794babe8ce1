"""``orthodrome bench``."""

from __future__ import annotations

from typing import Annotated

import typer

bench = typer.Typer(no_args_is_help=True, help="Measure this machine: what a head of many classes costs in time and memory.")


@bench.callback()
def _bench() -> None:
    """Measure this machine."""


@bench.command()
def head(
    classes: Annotated[int, typer.Option(help="Number of classes.", min=2)] = 100_000,
    dim: Annotated[int, typer.Option(help="Embedding dimension.", min=1)] = 512,
    batch: Annotated[int, typer.Option(help="Embeddings of a batch.", min=1)] = 256,
    loss: Annotated[str, typer.Option(help="A loss of `orthodrome losses`.")] = "arcface",
    impl: Annotated[str, typer.Option(help="auto, dense or chunked.")] = "auto",
    chunk_size: Annotated[int | None, typer.Option(help="Classes of a tile.", min=1)] = None,
    compute_dtype: Annotated[str | None, typer.Option(help="bf16 products.")] = None,
    filter_below: Annotated[float, typer.Option(help="Leave classes of smaller gradient out of the backward products.")] = 0.0,
    sample_rate: Annotated[float, typer.Option(help="Share of the classes drawn at each step.")] = 1.0,
    rounds: Annotated[int, typer.Option(help="Steps to time.", min=1)] = 5,
) -> None:
    """Time and memory of one step of a head, beside the three matrix products it cannot do without.

    Example: orthodrome bench head --classes 1000000 --loss sphereface2 --compute-dtype bf16
    """
    from orthodrome import losses
    from orthodrome.heads.measure import OPTIMIZER_ARRAYS, head_memory, measure_head
    from orthodrome.training.provenance import machine

    cost = measure_head(
        loss,
        classes,
        dim,
        batch,
        rounds=rounds,
        impl=impl,
        chunk_size=chunk_size,
        compute_dtype=compute_dtype,
        filter_below=filter_below,
        sample_rate=sample_rate,
    )
    print(f"{loss}, {classes:,} classes, dimension {dim}, batch {batch}, impl {impl}; {machine()}")
    print(f"forward and backward  {cost.seconds * 1e3:.1f} ms  (median of {rounds})")
    alone = f"{cost.seconds / cost.ratio * 1e3:.1f} ms with all classes"
    print(f"three products alone  {alone}, so {cost.ratio:.2f} × ({cost.lowest:.2f}–{cost.highest:.2f})")
    counted = "" if not filter_below else "  (classes that filter_below leaves out count too)"
    print(f"GFLOP/s               {cost.flops / 1e9:.0f} of the products' {cost.products_flops / 1e9:.0f}{counted}")
    print(f"memory at the peak    {cost.extra_bytes / 2**20:.0f} MiB beyond proxies, their gradient and embeddings")
    count = losses.proxy_loss(loss).similarity.per_class
    needs = ", ".join(
        f"{name} {head_memory(classes, dim, batch, optimizer=name, per_class=count) / 2**30:.1f} GiB" for name in OPTIMIZER_ARRAYS
    )
    print(f"to train it           {needs} by optimizer, on one process (docs: how large can I go)")
