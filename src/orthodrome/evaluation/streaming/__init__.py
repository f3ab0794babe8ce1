"""All comparisons of sets too large to score one by one: counted exactly, in tiles, in bounded memory."""

from orthodrome.evaluation.streaming.compare import StreamedRoc, compare_all, streaming_memory

__all__ = ["StreamedRoc", "compare_all", "streaming_memory"]
