"""All comparisons of sets too large to score one by one: counted exactly, in tiles, in bounded memory."""

from orthodrome.evaluation.streaming.compare import StreamedRoc, compare_all, streaming_memory
from orthodrome.evaluation.streaming.search import Neighbours, count_at_or_above, top_k

__all__ = ["Neighbours", "StreamedRoc", "compare_all", "count_at_or_above", "streaming_memory", "top_k"]
