"""Why a raw line is rejected: the codes, what each means, and what to do about it."""

from enum import StrEnum
from typing import Self


class ReasonCode(StrEnum):
    """Why a raw line was rejected.

    A code is added here and nowhere else: docs/raw-events.md has its table from here, in this order.
    """

    meaning: str
    """What is wrong, as the table of docs/raw-events.md says it."""
    remedy: str
    """What leads to the events; nothing where the meaning says it."""

    def __new__(cls, code: str, meaning: str, remedy: str) -> Self:
        """Return the code, as the text that it is, with what it means."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.remedy = remedy
        return member

    CORRUPT_GZIP = (
        "corrupt_gzip",
        "the compressed file breaks off or is damaged at this line; the lines before it were taken",
        "deliver the file again whole: what was taken counts as duplicate",
    )
    LINE_TOO_LONG = "line_too_long", "over 16 MiB; the first 64 KiB are kept", "look for a missing line end"
    INVALID_UTF8 = "invalid_utf8", "bytes that are no UTF-8 text", "write the file as UTF-8"
    INVALID_JSON = "invalid_json", "not JSON, often a line cut short", "deliver the line again in another file"
    NESTED_TOO_DEEP = (
        "nested_too_deep",
        "objects and arrays in one another, over 100 levels deep",
        "an event needs two levels",
    )
    NOT_AN_OBJECT = "not_an_object", "JSON, but an array, a text, a number, null", "one object a line"
    DUPLICATE_KEY = (
        "duplicate_key",
        "a known key stands twice, so that it is not clear which is meant",
        "write it once",
    )
    MISSING_FIELD = "missing_field", "a required key is absent or null", ""
    ANONYMOUS_USER = (
        "anonymous_user",
        "there is an anonymous id and no user id, so that nobody is known by it",
        "deliver the event with the user's id; docs/sources.md says what taking the anonymous id means",
    )
    WRONG_TYPE = "wrong_type", "another kind of value than the key takes", ""
    EMPTY_TEXT = "empty_text", "a required text, or a message_id, is empty", ""
    TEXT_TOO_LONG = "text_too_long", "more characters than fit", ""
    INVALID_UNICODE = "invalid_unicode", "half a surrogate pair, which is no character", ""
    INVALID_TIMESTAMP = (
        "invalid_timestamp",
        "no ISO 8601 instant, a date that does not exist, or a leap second",
        "",
    )
    NAIVE_TIMESTAMP = "naive_timestamp", "no offset, so that it names no instant", "end it in Z or an offset"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range", "outside the years 0001–9999 once in UTC", ""
    INVALID_NUMBER = "invalid_number", "a text that is no number", ""
    NUMBER_OUT_OF_RANGE = "number_out_of_range", "NaN, infinite, or too large to be stored", ""
    NOT_A_WHOLE_NUMBER = "not_a_whole_number", "a fraction where a count belongs", ""
    NEGATIVE_NUMBER = "negative_number", "below 0 where a count belongs", ""
