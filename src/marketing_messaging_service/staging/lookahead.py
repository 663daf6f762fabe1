"""Bytes that arrive in pieces, the first of which are looked at before they are read."""

from collections import deque
from collections.abc import Iterator

from src.marketing_messaging_service.staging.rejection import DamagedFileError


class Lookahead:
    """Gives pieces of bytes one by one, none of them empty, and shows what comes next without taking it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ahead: deque[bytes] = deque()
        self._damage: DamagedFileError | None = None
        self._is_at_end = False

    def beginning(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end; damage further on is raised only when it is reached."""
        length = sum(map(len, self._ahead))
        while length < size and not self._is_at_end:
            try:
                piece = next(self._pieces, b"")
            except DamagedFileError as error:
                self._damage = error
                piece = b""
            self._is_at_end = not piece
            if piece:
                self._ahead.append(piece)
                length += len(piece)
        return b"".join(self._ahead)[:size]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ahead:
            return self._ahead.popleft()
        if self._damage is not None:
            raise self._damage
        if self._is_at_end:
            raise StopIteration
        return next(self._pieces)
