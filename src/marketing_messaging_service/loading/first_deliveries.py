"""Finds out without an index which events are delivered for the first time."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Hashes = np.ndarray[Any, np.dtype[np.uint32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

MOST_REPEATED = 100_000
"""How many message ids are remembered as text, in 13 MB; of a million events ten thousand are delivered twice."""


class FirstDeliveries:
    """Distinguishes first deliveries from repeated ones, exactly, with four bytes per event.

    Every message_id is hashed beforehand. One with a unique hash occurs once; the few others are compared as text when
    they come, in the same order.
    """

    def __init__(
        self, known: Callable[[], Iterable[Sequence[str]]], coming: Iterable[Sequence[str]], most_count: int
    ) -> None:
        """Look at the message ids in the table, which can be iterated twice, and at those that are coming.

        Together they are no more than `most_count`.
        """
        hashes = np.empty(most_count, np.uint32)
        count = 0
        for message_ids in chain(known(), coming):
            hashes[count : count + len(message_ids)] = _hashes(message_ids)
            count += len(message_ids)
        hashes = hashes[:count]
        in_order = np.sort(hashes)
        repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
        self.can_tell = len(repeated) <= MOST_REPEATED
        """Whether few enough of them are repeated for all to be remembered."""
        self._places = np.flatnonzero(np.isin(hashes, repeated))
        """Of the repeated ones among all, and of the next of all that is to come."""
        self._next = 0
        self._seen: set[str] = set()
        if self.can_tell:
            for message_ids in known():
                self._seen.update(message_ids[place] for place in self._next_places(len(message_ids)))

    def are_first(self, message_ids: pa.StringArray) -> Mask:
        """Return which of the next message ids are neither known nor have come before."""
        are_first = np.ones(len(message_ids), dtype=np.bool_)
        for place in self._next_places(len(message_ids)):
            message_id = message_ids[place].as_py()
            are_first[place] = message_id not in self._seen
            self._seen.add(message_id)
        return are_first

    def _next_places(self, count: int) -> list[int]:
        """Return where among the next `count` message ids the repeated ones are."""
        start, end = np.searchsorted(self._places, [self._next, self._next + count]).tolist()
        places: list[int] = (self._places[start:end] - self._next).tolist()
        self._next += count
        return places


def _hashes(message_ids: Sequence[str]) -> Hashes:
    return np.fromiter(map(hash, message_ids), np.int64, len(message_ids)).astype(np.uint32)
