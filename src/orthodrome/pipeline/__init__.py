"""From images to embeddings with a trained model."""

from orthodrome.pipeline.align import TEMPLATES, create_aligner, similarity_transform
from orthodrome.pipeline.align_folder import CropSettings, align_folder, realign_folder
from orthodrome.pipeline.detect import FACE_RULES, YuNet
from orthodrome.pipeline.embed import embed_files, embed_images, embed_reader
from orthodrome.pipeline.evaluate import evaluate_model
from orthodrome.pipeline.model import Model, create_model, load_model, save_model
from orthodrome.pipeline.models import find_weights
from orthodrome.pipeline.storage import load_embeddings, save_embeddings

__all__ = [
    "FACE_RULES",
    "TEMPLATES",
    "CropSettings",
    "Model",
    "YuNet",
    "align_folder",
    "create_aligner",
    "create_model",
    "embed_files",
    "embed_images",
    "embed_reader",
    "evaluate_model",
    "find_weights",
    "load_embeddings",
    "load_model",
    "realign_folder",
    "save_embeddings",
    "save_model",
    "similarity_transform",
]
