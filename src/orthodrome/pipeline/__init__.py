"""From images to embeddings with a trained model."""

from orthodrome.pipeline import bin_protocol
from orthodrome.pipeline.embed import embed_files, embed_images, embed_reader
from orthodrome.pipeline.evaluate import ProtocolData, evaluate_embeddings, evaluate_model, protocol_images
from orthodrome.pipeline.model import Model, create_model, load_model, save_model
from orthodrome.pipeline.onnx import OnnxModel, OnnxPreprocessing, load_onnx, read_preprocessing
from orthodrome.pipeline.storage import holds_embeddings, load_embeddings, save_embeddings

__all__ = [
    "Model",
    "OnnxModel",
    "OnnxPreprocessing",
    "ProtocolData",
    "bin_protocol",
    "create_model",
    "embed_files",
    "embed_images",
    "embed_reader",
    "evaluate_embeddings",
    "evaluate_model",
    "holds_embeddings",
    "load_embeddings",
    "load_model",
    "load_onnx",
    "protocol_images",
    "read_preprocessing",
    "save_embeddings",
    "save_model",
]
