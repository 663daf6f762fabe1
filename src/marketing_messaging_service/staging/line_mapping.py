"""One line in a producer's words brought into a plain line, without reading more of it than the values that count.

Nothing is decided here differently from the close look; whatever is doubtful is left to it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from src.marketing_messaging_service.staging.line_parser import MOST_LEVELS
from src.marketing_messaging_service.staging.nearly_plain import InDoubtError, encode
from src.marketing_messaging_service.staging.sources.mapping import Place, Places, SourceMapping
from src.marketing_messaging_service.vocabulary import Payload
from src.marketing_messaging_service.vocabulary.values import RefusedValueError, WrittenNumber

_Level = dict[str, msgspec.Raw]
_Levels = Mapping[tuple[str, ...], _Level | None]
_decode_level = msgspec.json.Decoder(_Level).decode
_decode_text = msgspec.json.Decoder(str).decode

_NOTHING = (b"null", b'""')

MOST_SHAPES = 10_000
"""How many combinations of keys have their unknown ones remembered."""


class MappedLine(NamedTuple):
    """A line in plain form."""

    text: bytes
    """Nothing for an event that is dropped."""
    unknown_keys: tuple[str, ...]


DROPPED = MappedLine(b"", ())


class LineMapping:
    """Brings lines into plain form that are written as one mapping says."""

    def __init__(self, mapping: SourceMapping, payload: Payload) -> None:
        self._mapping = mapping
        self._known = {
            part.key: {field.name: encode(field.name) + b":" for field in part.fields} for part in payload.parts
        }
        self._sources = {
            part.key: {each.name: each.places for each in mapping.fields if each.part == part.key and each.places}
            for part in payload.parts
        }
        parents = {place.keys for places in mapping.parts.values() for place in places}
        renamed = [place for sources in self._sources.values() for places in sources.values() for place in places]
        taken_away = {place.keys[-1] for place in renamed if place.keys[:-1] in parents}
        self._is_foreseen = not any(taken_away & names.keys() for names in self._known.values())
        """Whether no renaming takes away what is a field by its own name."""
        self._parents = parents
        above = {keys[:end] for keys in mapping.used_keys for end in range(1, len(keys))}
        self._objects = sorted(above | parents, key=len)
        self._renamed = {encode(theirs): encode(ours) for theirs, ours in mapping.renamed_types.items()}
        self._dropped = {encode(each) for each in mapping.dropped_types}
        self._types = {encode(each): each for place in self._places() for each in place.only_types}
        self._prefix = encode(mapping.message_id_prefix)[:-1]
        self._beginnings = {part: b"," + encode(part) + b":{" for part in self._known}
        self._shapes: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def _places(self) -> Iterator[Place]:
        mapping = self._mapping
        for places in (mapping.user_id, mapping.event_type, mapping.event_timestamp, mapping.message_id):
            yield from places
        for places in (mapping.anonymous_id, *mapping.parts.values(), *(each.places for each in mapping.fields)):
            yield from places

    def plain(self, line: bytes) -> MappedLine:
        """Return a line in plain form. Raises InDoubtError or one of NOT_PLAIN when it must be looked at closely."""
        if not self._is_foreseen or line.count(b"{") + line.count(b"[") > MOST_LEVELS:
            raise InDoubtError
        if not line.isascii():
            line.decode()
        # Without white space, the length shows whether a key appears twice.
        levels = self._levels(msgspec.json.format(line, indent=-1) if _has_spaces(line) else line)
        event_type = self._event_type(levels)
        kind = self._types.get(event_type) if event_type else None
        event_type = event_type or (encode(self._mapping.default_type) if self._mapping.default_type else None)
        if event_type in self._dropped:
            return DROPPED
        user_id = self._user_id(levels, kind)
        if user_id is DROPPED.text:
            return DROPPED
        time, message_id = self._time(levels, kind), self._message_id(levels, kind)
        if not (event_type and user_id and time and message_id):
            raise InDoubtError
        pieces = [b'{"message_id":', message_id, b',"user_id":', user_id, b',"event_type":']
        pieces += [self._renamed.get(event_type, event_type), b',"event_timestamp":', time]
        for part, beginning in self._beginnings.items():
            pieces += [beginning, b",".join(self._values(part, levels, kind)), b"}"]
        pieces.append(b"}")
        return MappedLine(b"".join(pieces), self._unknown_keys(levels, kind))

    def _levels(self, line: bytes) -> _Levels:
        """Return the objects on a line that matter. Raises InDoubtError unless no key appears twice in them."""
        top = _decode_level(line)
        _refuse_doubles(top, len(line))
        levels: dict[tuple[str, ...], _Level | None] = {(): top}
        for path in self._objects:
            parent = levels.get(path[:-1])
            raw = parent.get(path[-1]) if parent else None
            found = None
            if raw is not None:
                text = bytes(raw)
                if text.startswith(b"{"):
                    found = _decode_level(text)
                    _refuse_doubles(found, len(text))
                elif path in self._parents and text != b"null":
                    # Not an object: the close look will report it.
                    raise InDoubtError
            levels[path] = found
        return levels

    def _event_type(self, levels: _Levels) -> bytes | None:
        found = _first(levels, self._mapping.event_type, None)
        if found is not None and (not found.startswith(b'"') or b"\\" in found):
            raise InDoubtError
        return found

    def _user_id(self, levels: _Levels, kind: str | None) -> bytes | None:
        found = _id_of(_first(levels, self._mapping.user_id, kind))
        if found is not None:
            return found
        anonymous = _id_of(_first(levels, self._mapping.anonymous_id, kind))
        if anonymous is None or self._mapping.anonymous_user == "reject":
            raise InDoubtError
        return anonymous if self._mapping.anonymous_user == "take" else DROPPED.text

    def _message_id(self, levels: _Levels, kind: str | None) -> bytes | None:
        found = _id_of(_first(levels, self._mapping.message_id, kind))
        return None if found is None else self._prefix + found[1:]

    def _time(self, levels: _Levels, kind: str | None) -> bytes | None:
        found = _first(levels, self._mapping.event_timestamp, kind)
        read_time = self._mapping.read_time
        if found is None or read_time is None:
            return found
        is_text = found.startswith(b'"')
        if not is_text and found[:1] not in b"-0123456789":
            raise InDoubtError
        try:
            read = read_time(_decode_text(found) if is_text else WrittenNumber(found.decode()))
        except RefusedValueError:
            raise InDoubtError from None
        return encode(read) if isinstance(read, str) else None

    def _values(self, part: str, levels: _Levels, kind: str | None) -> list[bytes]:
        """Return the known values of a part, each after its key."""
        found = [level for place in self._mapping.parts[part] if _counts(place, kind) and (level := levels[place.keys])]
        names, sources = self._known[part], self._sources[part]
        merged: _Level = found[0] if found else {}
        for later in found[1:]:
            merged = {**later, **merged}
        values = [names[key] + bytes(raw) for key, raw in merged.items() if key in names and key not in sources]
        for name, places in sources.items():
            value = _first(levels, places, kind)
            if value is None and any(_at(levels, place) == b'""' for place in places):
                raise InDoubtError
            if value is None and name in merged:
                value = bytes(merged[name])
            if value is not None:
                values.append(names[name] + value)
        return values

    def _unknown_keys(self, levels: _Levels, kind: str | None) -> tuple[str, ...]:
        shape = (kind, *(None if level is None else tuple(level) for level in levels.values()))
        known = self._shapes.get(shape)
        if known is None:
            known = self._unknown_keys_of(levels, kind)
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = known
        return known

    def _unknown_keys_of(self, levels: _Levels, kind: str | None) -> tuple[str, ...]:
        unknown = [key for key in levels[()] or () if key not in self._mapping.top_keys]
        for part, places in self._mapping.parts.items():
            names = {
                key: None
                for place in places
                if _counts(place, kind)
                for key in levels[place.keys] or ()
                if key not in self._known[part] and key not in self._taken_away_of(part)
            }
            unknown += [f"{part}.{key}" for key in names]
        return tuple(unknown)

    def _taken_away_of(self, part: str) -> set[str]:
        parents = {place.keys for place in self._mapping.parts[part]}
        return {
            place.keys[-1] for places in self._sources[part].values() for place in places if place.keys[:-1] in parents
        }


def _has_spaces(line: bytes) -> bool:
    """Whether a line seems to have white space between its tokens."""
    return line.startswith((b"{ ", b" ")) or line[line.find(b'":') + 2 :][:1] in b" \t" or line[-1:].isspace()


def _refuse_doubles(level: _Level, length: int) -> None:
    """Raise InDoubtError unless an object of so many bytes is written in the shortest way, with each key once.

    The decoder silently takes the last of several values; the text of the others makes the object longer.
    """
    shortest = 1 + sum(map(len, level)) + sum(map(len, level.values())) + 4 * len(level) if level else 2
    if shortest != length:
        shortest += sum(len(key.encode("utf-8", "surrogatepass")) - len(key) for key in level)
        if shortest != length:
            raise InDoubtError


def _counts(place: Place, kind: str | None) -> bool:
    return not place.only_types or kind in place.only_types


def _at(levels: _Levels, place: Place) -> bytes | None:
    level = levels[place.keys[:-1]]
    raw = level.get(place.keys[-1]) if level else None
    return None if raw is None else bytes(raw)


def _first(levels: _Levels, places: Places, kind: str | None) -> bytes | None:
    """Return the first value that is more than nothing, in JSON."""
    for place in places:
        if _counts(place, kind):
            value = _at(levels, place)
            if value is not None and value not in _NOTHING:
                return value
    return None


def _id_of(value: bytes | None) -> bytes | None:
    """Return an id, which may be a whole number, as text in JSON."""
    if value is None or value.startswith(b'"'):
        return value
    if value.removeprefix(b"-").isdigit():
        return b'"' + value + b'"'
    raise InDoubtError
