"""Finds out without an index which events are delivered for the first time."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Hashes = np.ndarray[Any, np.dtype[np.uint32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

MOST_REPEATED = 100_000
"""How many message ids are remembered as text, in 13 MB; of a million events ten thousand are delivered twice."""


class FirstDeliveries:
    """Distinguishes first deliveries from repeated ones, exactly, with four bytes per event.

    Every message_id is hashed beforehand. One with a unique hash occurs once; the few others are compared as text when
    they come.
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
        hashes.sort()
        self._repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        self._seen: set[str] = set()
        if self.can_tell:
            for message_ids in known():
                self._seen.update(message_ids[place] for place in self._places_of_repeated(message_ids))

    @property
    def can_tell(self) -> bool:
        """Whether few enough of them are repeated for all to be remembered."""
        return len(self._repeated) <= MOST_REPEATED

    def are_first(self, message_ids: Sequence[str]) -> Mask:
        """Return which of the next message ids are neither known nor have come before."""
        are_first = np.ones(len(message_ids), dtype=np.bool_)
        for place in self._places_of_repeated(message_ids):
            are_first[place] = message_ids[place] not in self._seen
            self._seen.add(message_ids[place])
        return are_first

    def _places_of_repeated(self, message_ids: Sequence[str]) -> list[int]:
        places: list[int] = np.flatnonzero(np.isin(_hashes(message_ids), self._repeated)).tolist()
        return places


def _hashes(message_ids: Sequence[str]) -> Hashes:
    return np.fromiter(map(hash, message_ids), np.int64, len(message_ids)).astype(np.uint32)
