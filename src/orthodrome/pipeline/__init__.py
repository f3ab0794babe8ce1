"""From images to embeddings with a trained model."""

from orthodrome.pipeline.embed import embed_files, embed_images, embed_reader
from orthodrome.pipeline.evaluate import evaluate_model
from orthodrome.pipeline.model import Model, create_model, load_model, save_model
from orthodrome.pipeline.storage import load_embeddings, save_embeddings

__all__ = [
    "Model",
    "create_model",
    "embed_files",
    "embed_images",
    "embed_reader",
    "evaluate_model",
    "load_embeddings",
    "load_model",
    "save_embeddings",
    "save_model",
]
