"""Reads sources.yaml: which files are raw events, in which format, and which mapping turns their words into ours."""

import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from src.marketing_messaging_service.errors import Fault, SourcesError
from src.marketing_messaging_service.staging.formats import FORMATS
from src.marketing_messaging_service.staging.packing import PACKINGS
from src.marketing_messaging_service.staging.results import READER_VERSION
from src.marketing_messaging_service.staging.sources.mapping import FieldSource, Place, Places, SourceMapping
from src.marketing_messaging_service.staging.sources.shipped import NATIVE, SHIPPED
from src.marketing_messaging_service.staging.sources.source import Cells, Source
from src.marketing_messaging_service.staging.sources.times import ReadTime, from_epoch, in_format, naive_in
from src.marketing_messaging_service.staging.sources.types import (
    CellsForm,
    ContentIdForm,
    EventTypesForm,
    FieldForm,
    MappingForm,
    PlaceForm,
    SourceForm,
    Sources,
    TimeForm,
)
from src.marketing_messaging_service.staging.sources.types import Places as PlacesForm
from src.marketing_messaging_service.yaml_file import (
    Grammar,
    all_faults,
    parse_yaml,
    read_yaml_file,
    validation_error,
    wait_until_settled,
    word,
)

_GRAMMAR = Grammar(
    error=SourcesError,
    kind="sources file",
    consequence="no file was taken",
    whole=Sources,
    parts={
        "sources": SourceForm,
        "mappings": MappingForm,
        "fields": FieldForm,
        "event_types": EventTypesForm,
        "content_id": ContentIdForm,
        "timestamp_form": TimeForm,
        "cells": CellsForm,
    },
    kinds={},
    named={"sources": "source", "mappings": "mapping"},
)


class SourcesFile:
    """A version of sources.yaml that was read and is valid; never changed.

    Not a dataclass, because Prefect would look into all of one that a step gets. Another process gets its text.
    """

    def __init__(self, sources: Sequence[Source], origin: str = "sources.yaml", yaml_text: str = "") -> None:
        """Take sources; `origin` is the file's name for errors, and `yaml_text` its text."""
        self.sources = tuple(sources)
        self.origin = origin
        self.yaml_text = yaml_text
        self._expressions = tuple(_expression(source.patterns) for source in sources)

    def __reduce__(self) -> tuple[Any, ...]:
        # Mappings are compared by identity, not by content, and they hold functions, so they cannot be pickled.
        return (_read_once, (self.yaml_text, self.origin)) if self.yaml_text or self is SHIPPED_SOURCES else _unsent()

    def number_of(self, path: str) -> int | None:
        """Return the place of the first source whose pattern fits a path from landing, with slashes; else None."""
        fitting = (number for number, expression in enumerate(self._expressions) if expression.fullmatch(path))
        return next(fitting, None)

    def reader_number_of(self, path: str) -> int | None:
        """Return the number of the reader for a file, by its path from landing; None if none reads it."""
        source = self.source_of(path)
        return None if source is None else source.reader_number

    def source_of(self, path: str) -> Source | None:
        """Return how a file is written, by its path from landing; None if no pattern names it."""
        number = self.number_of(path)
        return None if number is None else self.sources[number]


def read_sources(
    path: Path | None, *, settle_seconds: float = 0, sleep: Callable[[float], None] = time.sleep
) -> SourcesFile:
    """Read and check a sources file, once nobody has written it for `settle_seconds`.

    Without a path, the sources are those that come with the project. Raises SourcesError, naming every source, mapping
    and key that is wrong, what was there and what was expected, and when the file keeps changing.
    """
    if path is None:
        return SHIPPED_SOURCES
    wait_until_settled(path, "SOURCES_PATH", _GRAMMAR, settle_seconds=settle_seconds, sleep=sleep)
    return parse_sources(read_yaml_file(path, "SOURCES_PATH", _GRAMMAR), str(path))


def parse_sources(yaml_text: str, origin: str) -> SourcesFile:
    """Check the text of a sources file; `origin` is what errors call it. Raises SourcesError as `read_sources` does."""
    document = parse_yaml(yaml_text, origin, _GRAMMAR)
    try:
        said = Sources.model_validate(document.value)
    except ValidationError as error:
        raise validation_error(error, document, origin, _GRAMMAR) from None
    wrong = _wrong_names(said)
    if wrong:
        raise all_faults(origin, _GRAMMAR, [Fault(sentence) for sentence in wrong])
    mappings = _mappings(said.mappings)
    return SourcesFile(
        origin=origin,
        yaml_text=yaml_text,
        sources=tuple(
            Source(
                patterns=each.files,
                format_name=each.format,
                mapping=mappings[each.mapping],
                cells=_cells(each.mapping, said.mappings),
                reader_number=_reader_number(each.format, each.mapping, said.mappings),
            )
            for each in said.sources
        ),
    )


@lru_cache(maxsize=8)
def _read_once(yaml_text: str, origin: str) -> SourcesFile:
    """Return the sources that another process was given; many tasks of one run get the same text."""
    return parse_sources(yaml_text, origin) if yaml_text else SHIPPED_SOURCES


def _unsent() -> NoReturn:
    raise TypeError("sources that were made without a text cannot be given to another process")


def _wrong_names(said: Sources) -> list[str]:
    """Return a sentence for each mapping that has a shipped name, or that is named but missing."""
    known = {*SHIPPED, *said.mappings}
    expected = ", ".join(sorted(known))
    sentences = [
        f"mapping {word(name)}: the project's own mapping has this name; choose another, and write "
        f"`extends: {name}` in it"
        for name in said.mappings
        if name in SHIPPED
    ]
    sentences += [
        f"mapping {word(name)}, extends: expected one of {expected}, found {form.extends!r}"
        for name, form in said.mappings.items()
        if form.extends not in known
    ]
    sentences += [
        f"mapping {word(name)}, extends: it extends itself"
        for name in said.mappings
        if name not in SHIPPED and name in _ancestors(name, said.mappings)
    ]
    sentences += [
        f"source number {number}, mapping: expected one of {expected}, found {each.mapping!r}"
        for number, each in enumerate(said.sources, start=1)
        if each.mapping not in known
    ]
    return sentences


def _ancestors(name: str, forms: Mapping[str, MappingForm]) -> list[str]:
    """Return the mappings that one extends, including its own name if it extends itself."""
    ancestors: list[str] = []
    while name in forms and forms[name].extends not in ancestors:
        name = forms[name].extends
        ancestors.append(name)
    return ancestors


def _mappings(forms: Mapping[str, MappingForm]) -> Mapping[str, SourceMapping]:
    mappings = dict(SHIPPED)
    waiting = dict(forms)
    while waiting:
        name = next(name for name, form in waiting.items() if form.extends in mappings)
        form = waiting.pop(name)
        mappings[name] = _extended(name, form, mappings[form.extends])
    return mappings


def _extended(name: str, form: MappingForm, base: SourceMapping) -> SourceMapping:
    return replace(
        base,
        name=name,
        user_id=_places(form.user_id, base.user_id),
        event_type=_places(form.event_type, base.event_type),
        event_timestamp=_places(form.event_timestamp, base.event_timestamp),
        message_id=_places(form.message_id, base.message_id),
        parts={part: _places(getattr(form, part), places) for part, places in base.parts.items()},
        fields=_fields(form.fields, base.fields),
        anonymous_id=_places(form.anonymous_id, base.anonymous_id),
        anonymous_user=form.anonymous_user or base.anonymous_user,
        read_time=base.read_time if form.timestamp_form is None else _read_time(form.timestamp_form),
        renamed_types={**base.renamed_types, **form.event_types.rename},
        default_type=form.event_types.otherwise or base.default_type,
        dropped_types=base.dropped_types | frozenset(form.event_types.drop),
        message_id_prefix=form.message_id_prefix or base.message_id_prefix,
        batch=form.batch or base.batch,
        left_out_of_content_id=base.left_out_of_content_id | {_keys(key) for key in form.content_id.leave_out},
    )


def _places(said: PlacesForm | None, otherwise: Places) -> Places:
    return otherwise if said is None else tuple(_place(each) for each in said)


def _place(form: PlaceForm) -> Place:
    return Place(_keys(form.key), frozenset(form.only_types))


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.split("."))


def _fields(said: Mapping[str, FieldForm], base: Sequence[FieldSource]) -> tuple[FieldSource, ...]:
    fields = {f"{each.part}.{each.name}": each for each in base}
    for path, form in said.items():
        part, _, name = path.partition(".")
        fields[path] = FieldSource(part, name, _places(form.places, ()), form.on_invalid)
    return tuple(fields.values())


def _read_time(said: TimeForm) -> ReadTime | None:
    if said.counts is not None:
        return from_epoch({"seconds": 1, "milliseconds": 1000}[said.counts])
    if said.format is not None:
        return in_format(said.format, said.timezone)
    return None if said.timezone is None else naive_in(said.timezone)


def _cells(name: str, forms: Mapping[str, MappingForm]) -> Cells:
    cells = Cells()
    for form in reversed(_line_of(name, forms)):
        said = form.cells
        words = {True: said.true_words, False: said.false_words}
        kept = {word: meaning for word, meaning in cells.truths.items() if words[meaning] is None}
        own = {word.lower(): meaning for meaning, given in words.items() for word in given or ()}
        cells = Cells(said.delimiter or cells.delimiter, said.decimal or cells.decimal, {**kept, **own})
    return cells


def _line_of(name: str, forms: Mapping[str, MappingForm]) -> list[MappingForm]:
    """Return the file's entries for a mapping and those that it extends, itself first."""
    return [forms[each] for each in (name, *_ancestors(name, forms)) if each in forms]


def _reader_number(format_name: str, mapping: str, forms: Mapping[str, MappingForm] = {}) -> int:
    """Return the reader's version and, in the higher digits, a checksum of how a source says a file is written."""
    said = repr((format_name, mapping, _line_of(mapping, forms)))
    return READER_VERSION + (zlib.crc32(said.encode("utf-8", "surrogatepass")) << 16)


def _expression(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(_translated(pattern) for pattern in patterns), re.IGNORECASE | re.DOTALL)


def _translated(pattern: str) -> str:
    """Return a pattern of paths as a regular expression: `*` and `?` within a name, `**` over folders.

    A pattern without a slash matches names in any folder.
    """
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("/"))
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(words.get(piece, re.escape(piece)) for piece in pieces)


SHIPPED_SOURCES = SourcesFile(
    tuple(
        Source(
            patterns=tuple(
                f"*{ending}{packed}"
                for ending in file_format.endings
                for packed in ("", *(packing.ending for packing in PACKINGS))
            ),
            format_name=file_format.name,
            mapping=NATIVE,
            reader_number=_reader_number(file_format.name, NATIVE.name),
        )
        for file_format in FORMATS.values()
    )
)
"""The contents of the file that comes with the project."""
