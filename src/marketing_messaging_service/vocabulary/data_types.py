"""What a column holds, in the dictionary's words."""

from enum import StrEnum


class DataType(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    BYTES = "bytes"
