"""Images in: readers, open-set splits, augmentation, samplers and the loader."""

from orthodrome.data.cache import available_memory, cache_bytes, load_cache, wants_cache
from orthodrome.data.check import SetSummary, check_trainable, class_counts
from orthodrome.data.decode import decode_image, printable
from orthodrome.data.files import FileReader
from orthodrome.data.folder import read_folder
from orthodrome.data.geometric import horizontal_flip, shift_images
from orthodrome.data.listing import read_list
from orthodrome.data.loader import Loader, create_loader
from orthodrome.data.memory import MemoryReader
from orthodrome.data.orl import orl_faces
from orthodrome.data.randomness import Draws
from orthodrome.data.readers import ImageReader, open_reader
from orthodrome.data.samplers import BatchSampler, EpochSampler, PKSampler, SequentialSampler
from orthodrome.data.split import Subset, split_identities
from orthodrome.data.transforms import Augmentation, Transform, to_network_input, unchanged

__all__ = [
    "Augmentation",
    "BatchSampler",
    "Draws",
    "EpochSampler",
    "FileReader",
    "ImageReader",
    "Loader",
    "MemoryReader",
    "PKSampler",
    "SequentialSampler",
    "SetSummary",
    "Subset",
    "Transform",
    "available_memory",
    "cache_bytes",
    "check_trainable",
    "class_counts",
    "create_loader",
    "decode_image",
    "horizontal_flip",
    "load_cache",
    "open_reader",
    "orl_faces",
    "printable",
    "read_folder",
    "read_list",
    "shift_images",
    "split_identities",
    "to_network_input",
    "unchanged",
    "wants_cache",
]
