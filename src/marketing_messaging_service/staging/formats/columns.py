"""Columns of a table as the keys of a JSON line: a dotted name is a key within an object."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.vocabulary import ReasonCode


class Columns:
    """The columns of a table, by which each row becomes a line."""

    def __init__(self, names: Sequence[str]) -> None:
        self._keys = [tuple(name.split(".")) for name in names]

    def line(self, values: Iterable[Any]) -> bytes:
        """Return a row as the JSON line that says the same; a value that is None is absent."""
        document: dict[str, Any] = {}
        for keys, value in zip(self._keys, values, strict=True):
            if value is None:
                continue
            level = document
            for key in keys[:-1]:
                level = level.setdefault(key, {})
            last = keys[-1]
            level[last] = {**level[last], **value} if isinstance(level.get(last), dict) else value
        return json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def wrong_columns(names: Sequence[str], objects: Mapping[str, Iterable[str]]) -> Rejection | None:
    """Return why columns cannot be told apart; None where they can.

    `objects` has the columns that hold objects, with the keys of each, in which dotted names may add others.
    """
    seen: set[tuple[str, ...]] = set()
    every = [*names, *(f"{name}.{key}" for name, keys in objects.items() for key in keys)]
    for name in every:
        keys = tuple(name.split("."))
        if not all(keys):
            return _rejection("A column has no name, or one with nothing beside a dot")
        if keys in seen:
            return _rejection(f"The column {name} stands there twice")
        seen.add(keys)
    for name in every:
        keys = tuple(name.split("."))
        for length in range(1, len(keys)):
            above = ".".join(keys[:length])
            if keys[:length] in seen and above not in objects:
                return _rejection(f"There are a column {above} and a column {name}, which would stand within it")
    return None


def _rejection(what: str) -> Rejection:
    return Rejection(
        ReasonCode.INVALID_HEADER, None, f"{what}; nothing of the file was taken. Mend the names, and deliver it again."
    )
