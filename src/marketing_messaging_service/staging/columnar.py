"""Turns a chunk of raw lines into a table of typed events, fast: plain lines in compiled code, others one by one."""

import itertools
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import length_hint
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from src.marketing_messaging_service.staging.column_reader import ColumnReader, may_hold_nul
from src.marketing_messaging_service.staging.content_columns import ContentColumns
from src.marketing_messaging_service.staging.content_id import ContentIds, Unknown
from src.marketing_messaging_service.staging.line_parser import MAX_LENGTHS, LeftOut, LineParser
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.nearly_plain import (
    NOT_PLAIN,
    InDoubtError,
    NearlyPlain,
    TextPaths,
    encode,
    plain_decoder,
    text_decoder,
)
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.results import FORMER_IDS, LEFT_OUT, REJECTED_SCHEMA
from src.marketing_messaging_service.staging.text_form import bare
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS, PAYLOAD, Part, Payload
from src.marketing_messaging_service.vocabulary.values import RefusedValueError

LONG_STREAK = 16
"""After this many lines in a row that no decoder accepted, the decoders are no longer tried first."""

FEW_TEXTS = 500
"""Beyond this many plain lines per line with numbers as text, the latter is rewritten instead of read in its own group:
putting the rows of two groups in order costs a five-hundredth of a rewrite for each plain line."""

SMALLEST_HALF = 64
"""Below this many lines, a group that the columnar reader refuses is read line by line instead of halved."""


_Numbered = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class StagedChunk:
    """A chunk of lines as typed rows: every line is in one of the tables or is counted as blank."""

    events: pa.Table
    """Of the staged columns."""
    rejected: pa.Table
    """Of REJECTED_SCHEMA."""
    blank_count: int
    unknown_keys: Counter[str]
    """How often each unknown key was in the events."""


@dataclass(slots=True)
class LineGroup:
    """Lines for one column reader, by line number and in order."""

    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    def add(self, number: int, line: bytes) -> None:
        """Add a line."""
        self.numbers.append(number)
        self.lines.append(line)

    def insert(self, number: int, line: bytes) -> None:
        """Add a line in its place."""
        place = bisect_left(self.numbers, number)
        self.numbers.insert(place, number)
        self.lines.insert(place, line)

    def extend(self, others: "LineGroup") -> None:
        """Add lines that come after those here."""
        self.numbers += others.numbers
        self.lines += others.lines


class Look(NamedTuple):
    """How to look closely at lines that are in a group in another form than they came in."""

    numbers: range
    closely: Callable[[int, "SortedLines"], bytes | None]
    """Returns a line, by its number, in plain form; None if it holds no event after all, which it records."""


@dataclass(slots=True)
class SortedLines:
    """A chunk's lines before they become tables; each line that holds an event is in one of the groups."""

    plain: LineGroup = field(default_factory=LineGroup)
    texts: dict[TextPaths, LineGroup] = field(default_factory=lambda: defaultdict(LineGroup))
    """Lines with numbers written as text, by the fields concerned."""
    brought: dict[int, bytes] = field(default_factory=dict)
    """Original lines that are in a group in another form, by line number."""
    unknown_keys: dict[int, Sequence[str]] = field(default_factory=dict)
    """Paths of the unknown keys, by line number."""
    unknown_values: dict[int, Unknown] = field(default_factory=dict)
    """The values of the unknown keys, by line number, where the producer gave no message_id."""
    former_ids: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Ids under which an earlier version may have loaded an event, by line number."""
    left_out: dict[int, tuple[LeftOut, ...]] = field(default_factory=dict)
    """The invalid values that an event is kept without, by line number."""
    looks: list[Look] = field(default_factory=list)
    """For lines that did not come through `line_parser`."""
    rejected: list[tuple[int, bytes, Rejection]] = field(default_factory=list)
    blank_count: int = 0
    dropped_count: int = 0
    """Events of types that their mapping drops."""

    def extend(self, others: "SortedLines") -> None:
        """Add lines that come after those here."""
        self.plain.extend(others.plain)
        for text_paths, group in others.texts.items():
            self.texts[text_paths].extend(group)
        self.brought |= others.brought
        self.unknown_keys |= others.unknown_keys
        self.unknown_values |= others.unknown_values
        self.former_ids |= others.former_ids
        self.left_out |= others.left_out
        self.looks += others.looks
        self.rejected += others.rejected
        self.blank_count += others.blank_count
        self.dropped_count += others.dropped_count


class Stager:
    """Makes tables from lines that hold events of one payload.

    `line_parser` defines what is an event and what is not; here the same result is only reached faster, in two halves:
    `sort_lines`, in Python, and `into_tables`, which is nearly all compiled and can run beside it.
    """

    def __init__(self, payload: Payload, delivery_keys: Collection[str] = DELIVERY_KEYS) -> None:
        """Take lines of that payload; the given top-level keys are not content."""
        # A missing message_id is made from the content, once that is in columns.
        self._decode_plain = plain_decoder(payload, strict=True)
        self._payload = payload
        self._text_decoders: dict[TextPaths, Callable[[bytes], Any]] = {}
        self._text_readers: dict[TextPaths, ColumnReader] = {}
        self._parser = LineParser(payload, delivery_keys)
        self._nearly_plain = NearlyPlain(payload, self._parser)
        self._plain_reader = ColumnReader(payload)
        self._content_columns = ContentColumns(payload, delivery_keys)
        names = {*MAX_LENGTHS, "event_timestamp", *(name for part in payload.parts for name in _names_of(part))}
        self._keys = [encode(name) for name in sorted(names)]
        self.schema = self._plain_reader.schema

    def stage(self, chunk: Chunk) -> StagedChunk:
        """Return a chunk's lines as typed rows."""
        return self.into_tables(self.sort_lines(chunk))

    def sort_lines(self, chunk: Chunk) -> SortedLines:
        """Look at each line of a chunk, and separate lines with an event from blank and rejected ones."""
        sorting = SortedLines()
        runs, others, rest = self._plain_runs(chunk)
        self._sort_others(others, None, sorting)
        self._sort_others(rest, self._decode_plain, sorting)
        if runs:
            sorting.plain = _merged(runs, sorting.plain, chunk)
        sorting.rejected += chunk.refused_lines()
        return sorting

    def _plain_runs(self, chunk: Chunk) -> tuple[list[range], list[_Numbered], Iterable[_Numbered]]:
        """Return the places of plain lines, in runs, the other lines between them, and the rest of the chunk.

        The decoder goes through a run without interruption, and the other lines are dealt with afterwards, all
        together, which is quicker than going back and forth. There is a rest where several lines in a row are not
        plain.
        """
        lines = chunk.lines
        if chunk.refused or not isinstance(lines, list):
            return [], [], chunk.numbered()
        runs: list[range] = []
        others: list[_Numbered] = []
        start = odd_streak = 0
        following = iter(lines)
        while start < len(lines) and odd_streak < LONG_STREAK:
            try:
                deque(map(self._decode_plain, following), maxlen=0)
                place = len(lines)
            except NOT_PLAIN:
                place = len(lines) - length_hint(following) - 1
                others.append((chunk.first_line_number + place, lines[place]))
            if place > start:
                runs.append(range(start, place))
                odd_streak = 0
            odd_streak += 1
            start = place + 1
        return runs, others, enumerate(following, chunk.first_line_number + start)

    def _sort_others(
        self, lines: Iterable[_Numbered], decode: Callable[[bytes], Any] | None, sorting: SortedLines
    ) -> None:
        """Sort lines one after the other, given what to try with the first of them."""
        group = sorting.plain
        add_number, add_line = group.numbers.append, group.lines.append
        odd_streak = 0
        for number, line in lines:
            # Checked first, because a small packed file can hold a thousand million of them.
            if not line or line.isspace():
                sorting.blank_count += 1
                continue
            # The next line is probably from the same producer, and then passes at the first look.
            if decode is not None and odd_streak < LONG_STREAK:
                try:
                    decode(line)
                except NOT_PLAIN:
                    pass
                else:
                    add_number(number)
                    add_line(line)
                    odd_streak = 0
                    continue
            accepting = self._sort_odd(number, line, sorting)
            if accepting is None:
                odd_streak += 1
            else:
                odd_streak = 0
                group, decode = accepting
                add_number, add_line = group.numbers.append, group.lines.append

    def into_tables(self, sorting: SortedLines) -> StagedChunk:
        """Return sorted lines as tables; a line in which only the columnar reader finds no event is rejected here."""
        text_count = sum(len(group.lines) for group in sorting.texts.values())
        if text_count * FEW_TEXTS <= len(sorting.plain.lines):
            self._move_texts(sorting)
        tables = self._parse(sorting.plain, self._plain_reader, sorting)
        groups = len(sorting.texts) + bool(tables)
        for text_paths, group in sorting.texts.items():
            tables += self._parse(group, self._text_reader(text_paths), sorting)
        for number, _, _ in sorting.rejected:
            sorting.unknown_keys.pop(number, None)
        # In one piece, because each piece would be loaded with statements of its own.
        found = tables or [self.schema.empty_table()]
        events = (found[0] if len(found) == 1 else pa.concat_tables(found)).combine_chunks()
        if groups > 1:
            events = events.take(pc.sort_indices(events["line_number"]))
        events = _with_lists(events, FORMER_IDS, sorting.former_ids)
        events = _with_lists(
            events, LEFT_OUT, {number: [each._asdict() for each in found] for number, found in sorting.left_out.items()}
        )
        return StagedChunk(
            events=events,
            rejected=_rejected_table(sorting.rejected),
            blank_count=sorting.blank_count,
            unknown_keys=Counter(itertools.chain.from_iterable(sorting.unknown_keys.values())),
        )

    def _sort_odd(
        self, number: int, line: bytes, sorting: SortedLines
    ) -> tuple[LineGroup, Callable[[bytes], Any]] | None:
        """Sort a line that the previous line's decoder does not accept.

        Returns its group and the decoder that accepts it, None if there is none.
        """
        try:
            plain = self._nearly_plain.bring(line)
        except (*NOT_PLAIN, InDoubtError, RefusedValueError):
            if (closely := self._closely(number, line, sorting)) is not None:
                sorting.plain.add(number, closely)
            return None
        group = sorting.texts[plain.text_paths] if plain.text_paths else sorting.plain
        group.numbers.append(number)
        group.lines.append(plain.text)
        if plain.text is not line:
            sorting.brought[number] = line
        if plain.unknown_keys:
            sorting.unknown_keys[number] = plain.unknown_keys
        if plain.unknown_values:
            sorting.unknown_values[number] = plain.unknown_values
        if plain.unknown_keys or plain.text is not line:
            return None
        return group, self._text_decoder(plain.text_paths) if plain.text_paths else self._decode_plain

    def _text_decoder(self, text_paths: TextPaths) -> Callable[[bytes], Any]:
        if text_paths not in self._text_decoders:
            self._text_decoders[text_paths] = text_decoder(self._payload, text_paths, strict=True)
        return self._text_decoders[text_paths]

    def _text_reader(self, text_paths: TextPaths) -> ColumnReader:
        if text_paths not in self._text_readers:
            self._text_readers[text_paths] = ColumnReader(self._payload, text_paths)
        return self._text_readers[text_paths]

    def _closely(self, number: int, line: bytes, sorting: SortedLines) -> bytes | None:
        look = next((each for each in sorting.looks if number in each.numbers), None)
        if look is not None:
            return look.closely(number, sorting)
        line = sorting.brought.get(number, line)
        try:
            parsed = self._parser.parse(line)
        except RefusedValueError as error:
            if not bare(line):
                sorting.blank_count += 1
                return None
            rejection = Rejection(error.reason_code, error.field_name, error.explanation)
            sorting.rejected.append((number, line, rejection))
            return None
        if parsed.unknown_keys:
            sorting.unknown_keys[number] = parsed.unknown_keys
        if parsed.former_ids:
            sorting.former_ids[number] = parsed.former_ids
        return encode(parsed.event)

    def _move_texts(self, sorting: SortedLines) -> None:
        """Rewrite the lines with numbers as text in plain form, and put them among the plain ones."""
        for group in sorting.texts.values():
            for number, line in zip(group.numbers, group.lines, strict=True):
                if (tidy := self._tidied(number, line, sorting)) is not None:
                    sorting.plain.insert(number, tidy)
        sorting.texts.clear()

    def _parse(self, group: LineGroup, reader: ColumnReader, sorting: SortedLines) -> list[pa.Table]:
        """Return tables of the staged columns with the lines of a group in order.

        The reader refuses a group as a whole, mostly for a key that appears twice, which a decoder lets pass. A refused
        group is rewritten line by line; only doubtful lines are looked at closely.
        """
        if not group.lines:
            return []
        try:
            events = reader.read(group.numbers, group.lines, may_hold_nul=True)
        except pa.ArrowException:
            pass
        else:
            return [self._with_ids(events, group.lines, sorting)]
        if reader is self._plain_reader:
            group = self._tidied_lines(group, sorting, self._may_have_a_key_twice)
            try:
                return self._read_plain(group, sorting, may_hold_nul=True)
            except pa.ArrowException:
                pass
        return self._parse_tidied(self._tidied_lines(group, sorting), sorting)

    def _tidied_lines(
        self, group: LineGroup, sorting: SortedLines, is_odd: Callable[[bytes], bool] = lambda _: True
    ) -> LineGroup:
        """Return the lines of a group with the odd ones rewritten, without those that hold no event after all."""
        found = LineGroup()
        for number, line in zip(group.numbers, group.lines, strict=True):
            tidy = self._tidied(number, line, sorting) if is_odd(line) else line
            if tidy is not None:
                found.add(number, tidy)
        return found

    def _may_have_a_key_twice(self, line: bytes) -> bool:
        return any(line.count(key) > 1 for key in self._keys)

    def _tidied(self, number: int, line: bytes, sorting: SortedLines) -> bytes | None:
        try:
            if may_hold_nul(line):
                raise InDoubtError
            tidied = self._nearly_plain.tidy(line)
        except (*NOT_PLAIN, InDoubtError, RefusedValueError):
            return self._closely(number, line, sorting)
        sorting.brought.setdefault(number, line)
        return tidied

    def _parse_tidied(self, group: LineGroup, sorting: SortedLines) -> list[pa.Table]:
        """Return what `_parse` does; a group that is still refused is halved until its lines are read one by one."""
        try:
            return self._read_plain(group, sorting)
        except pa.ArrowException:
            pass
        if len(group.lines) > SMALLEST_HALF:
            half = len(group.lines) // 2
            halves = (slice(None, half), slice(half, None))
            parts = (LineGroup(group.numbers[part], group.lines[part]) for part in halves)
            return [table for part in parts for table in self._parse_tidied(part, sorting)]
        found = LineGroup()
        for number, line in zip(group.numbers, group.lines, strict=True):
            if (closely := self._closely(number, line, sorting)) is not None:
                found.add(number, closely)
        return self._read_plain(found, sorting)

    def _read_plain(self, group: LineGroup, sorting: SortedLines, *, may_hold_nul: bool = False) -> list[pa.Table]:
        if not group.lines:
            return []
        events = self._plain_reader.read(group.numbers, group.lines, may_hold_nul=may_hold_nul)
        return [self._with_ids(events, group.lines, sorting)]

    def _with_ids(self, events: pa.Table, lines: Sequence[bytes], sorting: SortedLines) -> pa.Table:
        """Return a table of the staged columns, with an id made for each event whose producer gave none."""
        message_ids = events["message_id"]
        if not message_ids.null_count:
            return events
        places = pc.indices_nonzero(pc.is_null(message_ids)).to_pylist()
        without = events.take(places)
        numbers = without["line_number"].to_pylist()
        unknown_values = [sorting.unknown_values.get(number) for number in numbers]
        ids = self._content_columns.ids(without, [lines[place] for place in places], unknown_values)
        found = message_ids.to_pylist()
        for place, number, content_ids in zip(places, numbers, ids, strict=True):
            found[place], former_ids = content_ids or self._ids_of_line(sorting.brought.get(number, lines[place]))
            if former_ids:
                sorting.former_ids[number] = former_ids
        column = events.schema.get_field_index("message_id")
        return events.set_column(column, events.schema.field(column), pa.array(found, pa.string()))

    def _ids_of_line(self, line: bytes) -> ContentIds:
        parsed = self._parser.parse(line)
        return ContentIds(parsed.event["message_id"], parsed.former_ids)


def _merged(runs: Iterable[range], others: LineGroup, chunk: Chunk) -> LineGroup:
    """Return the lines of a chunk in runs of places, with other lines in between, by line number and in order."""
    found = LineGroup()
    between = zip(others.numbers, others.lines, strict=True)
    following = next(between, None)
    for run in runs:
        first_number = chunk.first_line_number + run.start
        while following is not None and following[0] < first_number:
            found.add(*following)
            following = next(between, None)
        found.numbers += range(first_number, first_number + len(run))
        found.lines += chunk.lines[run.start : run.stop]
    while following is not None:
        found.add(*following)
        following = next(between, None)
    return found


def _with_lists(events: pa.Table, name: str, lists: Mapping[int, Sequence[Any]]) -> pa.Table:
    """Return a table of the staged columns with the lists of one column filled in, given by line number."""
    if not lists:
        return events
    place = events.schema.get_field_index(name)
    found = [lists.get(number) for number in events["line_number"].to_pylist()]
    return events.set_column(place, events.schema.field(place), pa.array(found, events.schema.field(place).type))


def _names_of(part: Part) -> list[str]:
    return [part.key, *(field.name for field in part.fields)]


@cache
def stager_for(more_delivery_keys: frozenset[str]) -> Stager:
    """Return what makes tables from lines that hold events of the payload that the models declare.

    The given top-level keys are not content, nor are DELIVERY_KEYS.
    """
    return Stager(PAYLOAD, more_delivery_keys.union(DELIVERY_KEYS))


def _rejected_table(rejected: list[tuple[int, bytes, Rejection]]) -> pa.Table:
    rejected.sort(key=lambda row: row[0])
    rows = [
        (number, *as_text(line), why.reason_code.value, why.field_name, why.explanation, why.header_line)
        for number, line, why in rejected
    ]
    columns = zip(*rows, strict=True) if rows else itertools.repeat((), len(REJECTED_SCHEMA))
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, REJECTED_SCHEMA.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=REJECTED_SCHEMA)


def as_text(line: bytes) -> tuple[str, bytes | None]:
    """Return a line as readable text, and its exact bytes where the text is not exact."""
    text = line.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
    return text, None if text.encode("utf-8") == line else line
