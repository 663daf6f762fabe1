import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.marketing_messaging_service.staging.documents import Document, DocumentScanner
from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK

MOST, KEPT = 100, 10


def scanned(text: bytes, size: int = 1 << 20) -> tuple[list[bytes], DocumentScanner]:
    """The documents of a text that comes in pieces of so many bytes, and the scanner at its end."""
    scanner = DocumentScanner(1 << 20, 1 << 10)
    found = [document for start in range(0, len(text), size) for document in scanner.feed(text[start : start + size])]
    assert all(document.length >= len(document.text) for document in found)
    return [document.text for document in found], scanner


LAYOUTS: dict[str, Callable[[Sequence[Any]], str]] = {
    "an array on one line": json.dumps,
    "an array printed prettily": lambda values: json.dumps(values, indent=2),
    "an array of lines": lambda values: "[\n" + ",\n".join(map(json.dumps, values)) + "\n]\n",
    "several arrays": lambda values: "\n".join(json.dumps([value]) for value in values),
    "objects printed prettily": lambda values: "\n".join(json.dumps(value, indent=2) for value in values),
    "objects with CR and LF": lambda values: "\r\n".join(json.dumps(v, indent=1).replace("\n", "\r\n") for v in values),
    "objects glued together": lambda values: "".join(map(json.dumps, values)),
    "objects with CR alone": lambda values: "\r".join(map(json.dumps, values)),
    "objects with commas": lambda values: ",\n".join(json.dumps(value, indent=2) for value in values),
    "a JSON text sequence": lambda values: "".join(f"\x1e{json.dumps(value)}\n" for value in values),
    "files joined by cat": lambda values: "".join(f"\ufeff{json.dumps(value)}" for value in values),
}

texts = st.text(st.one_of(st.sampled_from('"\\{}[],:\n\r\t \0\x1e\ufeff'), st.characters(codec="utf-8")), max_size=8)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    objects=st.lists(st.dictionaries(texts, values, max_size=4), max_size=6),
    layout=st.sampled_from(sorted(LAYOUTS)),
    size=st.sampled_from((1, 2, 3, 7, 1 << 20)),
)
def test_objects_come_out_as_they_are_however_they_are_laid_out_and_cut_into_pieces(
    objects: list[dict[str, Any]], layout: str, size: int
) -> None:
    text = LAYOUTS[layout](objects)

    found, scanner = scanned(text.encode(), size)

    assert [json.loads(document) for document in found] == objects
    assert not any(b"\n" in document or b"\r" in document for document in found)
    assert not scanner.is_broken_off
    assert scanner.rest() is None


@settings(max_examples=100, deadline=None)
@given(
    elements=st.lists(values, max_size=6),
    size=st.sampled_from((1, 2, 3, 7, 1 << 20)),
    indent=st.sampled_from((None, 1)),
)
def test_elements_of_an_array_come_out_as_they_are_whatever_they_are(
    elements: list[Any], size: int, indent: int | None
) -> None:
    found, scanner = scanned(json.dumps(elements, indent=indent).encode(), size)

    assert [json.loads(document) for document in found] == elements
    assert not scanner.is_broken_off


@settings(max_examples=400, deadline=None)
@given(
    text=st.binary(max_size=40).map(lambda noise: bytes(b'{}[],:"\\\n a'[byte % 11] for byte in noise)),
    size=st.integers(1, 5),
)
def test_any_text_comes_out_the_same_however_it_is_cut_into_pieces(text: bytes, size: int) -> None:
    assert outcome(text, size) == outcome(text)


def outcome(text: bytes, size: int = 1 << 20) -> tuple[list[bytes], bytes | None, bool, bool]:
    found, scanner = scanned(text, size)
    rest = scanner.rest()
    return found, rest.text if rest else None, scanner.is_broken_off, scanner.is_astray


@pytest.mark.parametrize(
    ("text", "found", "rest"),
    [
        (b'[{"a": 1}, {"b"', [b'{"a": 1}'], b'{"b"'),
        (b'[{"a": 1},', [b'{"a": 1}'], None),
        (b"[", [], None),
        (b'{"a": "x', [], b'{"a": "x'),
        (b'{"a": "x\\', [], b'{"a": "x\\'),
        (b'{"a": [}', [], b'{"a": [}'),
    ],
)
def test_a_text_that_breaks_off_says_so_and_gives_what_was_whole(
    text: bytes, found: list[bytes], rest: bytes | None
) -> None:
    documents, scanner = scanned(text)
    left = scanner.rest()

    assert documents == found
    assert scanner.is_broken_off
    assert (left and left.text) == rest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b'[{"a": 1} {"b": 2}]', [b'{"a": 1} {"b": 2}'], id="a missing comma"),
        pytest.param(b'[{"a": "x\ny"}]', [b'{"a": "x\ty"}'], id="a line end within a string is still a fault"),
        pytest.param(b"[ , , ]", [], id="nothing between commas"),
    ],
)
def test_what_is_wrong_within_a_document_takes_nothing_else_along(text: bytes, found: list[bytes]) -> None:
    for size in (1, 2, 1 << 20):
        documents, scanner = scanned(text, size)

        assert documents == found
        assert not scanner.is_broken_off
        assert scanner.rest() is None


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        pytest.param(b'{"a": 1} oops {"b": 2}\n{"c": 3}\n', b"oops", id="stray text"),
        pytest.param(b'{"a": 1}}, "x": {"b": 2}\n', b'}, "x"', id="a bracket too many"),
        pytest.param(b'{"a": 1}, [], {"c": 3}', b"[]", id="an array among objects"),
        pytest.param(b'[] {"c": 3}', b'{"c"', id="an object among arrays"),
        pytest.param(b'[{"a": 1}}, {"b": 2}]', b'{"a": 1}}', id="a bracket too many in an array"),
        pytest.param(b'[{"a": 1}, b: 2, {"c": 3}]', b"b: 2", id="an element torn"),
        pytest.param(b'[{"a": 1, "b": [2}]}, {"c": 3}]', b'{"a": 1, "b": [2}]}', id="mixed brackets"),
        pytest.param(b'[1, x, {"c": 3}]', b"x", id="an element that is none"),
        pytest.param(b"]", b"]", id="a bracket that closes nothing"),
        pytest.param(b'{"a": 1} last words', b"last", id="stray text at the end"),
        pytest.param(b'{"a": 1}' + BYTE_ORDER_MARK[:2], BYTE_ORDER_MARK[:2], id="half a mark"),
    ],
)
def test_nothing_is_found_from_where_a_text_goes_astray(text: bytes, rest: bytes) -> None:
    for size in (1, 2, 1 << 20):
        documents, scanner = scanned(text, size)
        left = scanner.rest()

        assert len(documents) <= 1
        assert left is not None
        assert left.text.startswith(rest)
        assert not scanner.is_broken_off


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 20])
@pytest.mark.parametrize("filling", ["x" * 200, "\\" * 200, '\\"{[' * 50], ids=["text", "backslashes", "brackets"])
def test_a_document_that_is_too_long_is_given_with_its_beginning_and_length_and_held_in_part_only(
    size: int, filling: str
) -> None:
    long = b'{"a": "' + filling.encode() + b'", "b": [1, {"c": 2}]}'
    text = b'[{"a": 1}, ' + long + b', {"d": 3}]'
    scanner = DocumentScanner(MOST, KEPT)
    found: list[Document] = []
    for start in range(0, len(text), size):
        found += scanner.feed(text[start : start + size])
        assert len(scanner._text) <= MOST + max(size, 4)

    assert found == [Document(b'{"a": 1}', 8), Document(long[:KEPT], len(long)), Document(b'{"d": 3}', 8)]


def test_a_document_of_the_greatest_length_is_whole() -> None:
    longest = b'{"a": "' + b"x" * (MOST - 9) + b'"}'
    scanner = DocumentScanner(MOST, KEPT)

    assert scanner.feed(longest) == [Document(longest, MOST)]
