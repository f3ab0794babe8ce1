"""From images to embeddings with a trained model."""

from orthodrome.pipeline import bin_protocol
from orthodrome.pipeline.align import TEMPLATES, create_aligner, similarity_transform
from orthodrome.pipeline.align_folder import CropSettings, align_folder, realign_folder
from orthodrome.pipeline.detect import FACE_RULES, YuNet
from orthodrome.pipeline.embed import embed_files, embed_images, embed_reader
from orthodrome.pipeline.evaluate import ProtocolData, evaluate_embeddings, evaluate_model, protocol_images
from orthodrome.pipeline.model import Model, create_model, load_model, save_model
from orthodrome.pipeline.models import find_weights
from orthodrome.pipeline.onnx import OnnxModel, OnnxPreprocessing, load_onnx, read_preprocessing
from orthodrome.pipeline.opening import open_model
from orthodrome.pipeline.storage import holds_embeddings, load_embeddings, save_embeddings

__all__ = [
    "FACE_RULES",
    "TEMPLATES",
    "CropSettings",
    "Model",
    "OnnxModel",
    "OnnxPreprocessing",
    "ProtocolData",
    "YuNet",
    "align_folder",
    "bin_protocol",
    "create_aligner",
    "create_model",
    "embed_files",
    "embed_images",
    "embed_reader",
    "evaluate_embeddings",
    "evaluate_model",
    "find_weights",
    "holds_embeddings",
    "load_embeddings",
    "load_model",
    "load_onnx",
    "open_model",
    "protocol_images",
    "read_preprocessing",
    "realign_folder",
    "save_embeddings",
    "save_model",
    "similarity_transform",
]
