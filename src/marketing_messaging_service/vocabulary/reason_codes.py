"""Why a raw line is rejected: the codes, what each means, and what to do about it."""

from enum import StrEnum
from typing import Self

_IN_PART = True
"""Added to a reason if too little of the line, or file, is kept for a replay."""


class ReasonCode(StrEnum):
    """Why a raw line was rejected.

    The table of docs/raw-events.md is made from this, in this order; CONTRIBUTING.md says what else a new code needs.
    """

    meaning: str
    """What is wrong, as the table of docs/raw-events.md says it."""
    remedy: str
    """How to get the events: what to change before the line is delivered again, or replayed."""
    is_kept_in_part: bool
    """Whether too little of the line, or file, is kept for a replay."""

    def __new__(cls, code: str, meaning: str, remedy: str, is_kept_in_part: bool = False) -> Self:
        """Return the code, as the text that it is, with what it means."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.remedy = remedy
        member.is_kept_in_part = is_kept_in_part
        return member

    @classmethod
    def of(cls, code: str) -> Self:
        """Return the reason code with this text."""
        return next(member for member in cls if member.value == code)

    @property
    def advice(self) -> str:
        """What is wrong and what to do about it."""
        return f"{self.meaning}: {self.remedy}"

    CORRUPT_GZIP = (
        "corrupt_gzip",
        "the compressed file ends too early or is damaged at this line; the lines before it were taken",
        "deliver the whole file again: what was taken counts as duplicate",
        _IN_PART,
    )
    CORRUPT_ZSTD = (
        "corrupt_zstd",
        "the zstd file ends too early or is damaged at this line; up to 128 KiB of text before the damage can be lost "
        "too",
        "deliver the whole file again: what was taken counts as duplicate",
        _IN_PART,
    )
    BROKEN_OFF = (
        "broken_off",
        "an array, an object over several lines or a quoted cell is not closed where the file ends; what was whole was "
        "taken",
        "deliver the whole file again: what was taken counts as duplicate",
        _IN_PART,
    )
    ASTRAY = (
        "astray",
        "a file of arrays, or of objects that are not one per line, also holds something else; nothing of it was taken",
        "correct the file, and deliver it again",
        _IN_PART,
    )
    PACKED_TOO_OFTEN = (
        "packed_too_often",
        "the file is packed more than twice",
        "unpack it, and deliver what is inside",
        _IN_PART,
    )
    UNKNOWN_PACKING = (
        "unknown_packing",
        "the file is an archive, or packed with something other than gzip or plain zstd",
        "unpack it, and deliver what is inside",
        _IN_PART,
    )
    UTF_16 = "utf_16", "the file is UTF-16, as Windows writes it", "save it as UTF-8, and deliver it again", _IN_PART
    UTF_32 = "utf_32", "the file is UTF-32", "save it as UTF-8, and deliver it again", _IN_PART
    NOT_TEXT = (
        "not_text",
        "the file is not text, but a database, a picture, encrypted or the like",
        "deliver the events as JSON text",
        _IN_PART,
    )
    CORRUPT_PARQUET = (
        "corrupt_parquet",
        "the Parquet file ends too early or is damaged; the rows before the damage were taken",
        "deliver the whole file again: what was taken counts as duplicate",
        _IN_PART,
    )
    INVALID_HEADER = (
        "invalid_header",
        "a CSV or Parquet file has a column without a name, has column names that clash, or lacks a column that every "
        "event needs; "
        "nothing of it was taken",
        "give each column its name, or say in a mapping in sources.yaml which is what, and deliver the file again",
        _IN_PART,
    )
    INVALID_ROW = (
        "invalid_row",
        "a row of a CSV has more or fewer cells than its header, or a lone quote mark within a quoted cell",
        "quote a text that holds the delimiter, a quote mark (written twice) or a line end, and replay the row or "
        "deliver the file again",
    )
    NOT_JSON = (
        "not_json",
        "the file is XML or HTML, often the error page of a server, or a table with unknown columns",
        "deliver the events as JSON text; name a table .csv, and say in sources.yaml which column is what",
        _IN_PART,
    )
    LINE_TOO_LONG = "line_too_long", "over 16 MiB; the first 64 KiB are kept", "look for a missing line end", _IN_PART
    INVALID_UTF8 = "invalid_utf8", "the line is not UTF-8 text", "write the file as UTF-8"
    NUL_BYTES = (
        "nul_bytes",
        "zero bytes within a line, such as a power cut leaves; before and after an event they do not matter",
        "correct the line and replay it, or deliver it again in another file",
    )
    SEVERAL_OBJECTS = (
        "several_objects",
        "several objects on one line of a file that otherwise has one per line",
        "put a line end between them, and deliver the file again",
    )
    INVALID_JSON = (
        "invalid_json",
        "not JSON, often a line cut short",
        "correct the line and replay it, or deliver it again in another file",
    )
    NESTED_TOO_DEEP = (
        "nested_too_deep",
        "objects and arrays nested more than 100 levels deep",
        "an event needs two levels",
    )
    NOT_AN_OBJECT = "not_an_object", "JSON, but an array, a text, a number or null", "write one object per line"
    DUPLICATE_KEY = (
        "duplicate_key",
        "a known key is there twice, so it is not clear which one is meant",
        "write it once",
    )
    MISSING_FIELD = "missing_field", "a required key is absent or null", "write it"
    ANONYMOUS_USER = (
        "anonymous_user",
        "there is an anonymous id but no user id, so nobody knows who the user is",
        "deliver the event with the user's id; or take the anonymous id (docs/sources.md says what that means) and "
        "replay the line",
    )
    WRONG_TYPE = (
        "wrong_type",
        "another kind of value than the key takes",
        "write the value as the table of keys in docs/raw-events.md says",
    )
    EMPTY_TEXT = "empty_text", "a required text, or a message_id, is empty", "write it, or leave out the message_id"
    TEXT_TOO_LONG = "text_too_long", "more characters than fit", "shorten it, or give its field a greater length"
    INVALID_UNICODE = "invalid_unicode", "half a surrogate pair, which is no character", "write whole characters"
    NUL_CHARACTER = (
        "nul_character",
        "a NUL in a text: tools cut a text off there, so two ids can look alike",
        "write the text without it",
    )
    INVALID_TIMESTAMP = (
        "invalid_timestamp",
        "not a date and time in ISO 8601, a date that does not exist, or a leap second",
        "write it like 2026-11-23T10:15:00Z",
    )
    NAIVE_TIMESTAMP = (
        "naive_timestamp",
        "no UTC offset, so the instant is unknown",
        "end it in Z (for UTC) or an offset such as +01:00",
    )
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range", "in UTC, outside the years 0001–9999", "correct the year"
    INVALID_DATE = (
        "invalid_date",
        "not a date, or one that does not exist; an instant is not a date, as its date depends on the time zone",
        "write it like 2026-11-23",
    )
    INVALID_NUMBER = "invalid_number", "a text that is not a number", "write digits, with a point before decimals"
    NUMBER_OUT_OF_RANGE = (
        "number_out_of_range",
        "NaN, infinite, or too large to be stored",
        "write null where there is no number",
    )
    NOT_A_WHOLE_NUMBER = "not_a_whole_number", "a fraction where a count belongs", "write a whole number"
    TOO_MANY_DECIMALS = (
        "too_many_decimals",
        "money in smaller units than its field holds; it is never rounded",
        "write no more decimals than the table of keys in docs/raw-events.md says",
    )
    NEGATIVE_NUMBER = "negative_number", "below 0 where a count belongs", "count from 0"
    NUMBER_TOO_SMALL = "number_too_small", "below the least number that the key takes", "correct it, or write null"
    MESSAGE_ID_COLLISION = (
        "message_id_collision",
        "another event has the same message_id; a line that differs in more than the time is not a retry",
        "give the event a message_id of its own, or the mapping a prefix, and replay the line",
    )
