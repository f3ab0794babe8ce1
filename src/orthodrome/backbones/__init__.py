"""Backbones: networks that turn face crops (B, 3, H, W) into raw, not normalised embeddings (B, D).

``create_backbone(name, embedding_dim, image_size, **options)`` builds any row of the table; ``names()`` lists
them and ``option_names(name)`` says what each can be told.
"""

from orthodrome.backbones.factory import create_backbone, names, option_names
from orthodrome.backbones.table import BACKBONES, Network

__all__ = ["BACKBONES", "Network", "create_backbone", "names", "option_names"]
