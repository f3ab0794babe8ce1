"""Images in: readers, open-set splits, augmentation, samplers and the loader."""

from orthodrome.data.cache import available_memory, cache_bytes, load_cache, wants_cache
from orthodrome.data.check import SetSummary, check_trainable, class_counts
from orthodrome.data.conversion import convert
from orthodrome.data.decode import decode_image, printable
from orthodrome.data.encoded import EncodedReader
from orthodrome.data.files import FileReader
from orthodrome.data.folder import read_folder
from orthodrome.data.geometric import horizontal_flip, shift_images
from orthodrome.data.listing import read_list
from orthodrome.data.loader import Loader, create_loader
from orthodrome.data.memory import MemoryReader
from orthodrome.data.orl import orl_faces
from orthodrome.data.problems import BUDGET, Problem
from orthodrome.data.protocol import ImageReader, Images
from orthodrome.data.randomness import Draws
from orthodrome.data.readers import is_set, open_reader
from orthodrome.data.records import read_records
from orthodrome.data.samplers import BatchSampler, EpochSampler, PKSampler, PowerSampler, RankSampler, SequentialSampler
from orthodrome.data.shards import read_shards
from orthodrome.data.sources import SourceReader
from orthodrome.data.split import Subset, split_identities
from orthodrome.data.tables import read_tables
from orthodrome.data.transforms import Augmentation, Transform, to_network_input, unchanged
from orthodrome.data.verification_bin import VerificationSet, read_verification_set, save_verification_set

__all__ = [
    "BUDGET",
    "Augmentation",
    "BatchSampler",
    "Draws",
    "EncodedReader",
    "EpochSampler",
    "FileReader",
    "ImageReader",
    "Images",
    "Loader",
    "MemoryReader",
    "PKSampler",
    "PowerSampler",
    "Problem",
    "RankSampler",
    "SequentialSampler",
    "SetSummary",
    "SourceReader",
    "Subset",
    "Transform",
    "VerificationSet",
    "available_memory",
    "cache_bytes",
    "check_trainable",
    "class_counts",
    "convert",
    "create_loader",
    "decode_image",
    "horizontal_flip",
    "is_set",
    "load_cache",
    "open_reader",
    "orl_faces",
    "printable",
    "read_folder",
    "read_list",
    "read_records",
    "read_shards",
    "read_tables",
    "read_verification_set",
    "save_verification_set",
    "shift_images",
    "split_identities",
    "to_network_input",
    "unchanged",
    "wants_cache",
]
