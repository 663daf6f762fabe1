"""Knows where everything of ours is, and makes sure that nothing overwrites, or is read as, something else of ours."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from src.marketing_messaging_service.errors import SettingsError

LOCK = ".lock"
COPY_BEFORE_MIGRATION = ".before-migration"
COMPANIONS = (LOCK, "-wal", "-shm", "-journal", COPY_BEFORE_MIGRATION, f"{COPY_BEFORE_MIGRATION}.partial")
"""Suffixes of the files that belong to a database file: the lock of a run, those that SQLite keeps beside it, and the
copy that a migration keeps until it has succeeded."""


SCHEME = "s3://"

STAGED_ENDING = ".arrow"
"""How the names of files with staged rows end."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of object storage that speaks S3, and the prefix of the keys meant in it."""

    name: str
    prefix: str = ""
    """Without a slash at its ends; empty for the whole bucket."""

    @property
    def beginning(self) -> str:
        """What every meant key begins with."""
        return f"{self.prefix}/" if self.prefix else ""

    def holds(self, other: "Path | Bucket") -> bool:
        """Whether all of the other's keys are meant as well."""
        return isinstance(other, Bucket) and other.name == self.name and other.beginning.startswith(self.beginning)

    def __truediv__(self, name: str) -> "Bucket":
        return Bucket(self.name, f"{self.beginning}{name}")

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}{'/' if self.prefix else ''}{self.prefix}"


Place = Path | Bucket
"""A folder, or a bucket with a prefix."""


def place_of(text: str) -> Place:
    """Return the place that a setting names: a path, or `s3://bucket/prefix`. Raises ValueError without a bucket."""
    if not text.lower().startswith(SCHEME):
        return Path(text)
    name, _, prefix = text[len(SCHEME) :].partition("/")
    if not name:
        raise ValueError("names no bucket; expected the form s3://bucket/prefix")
    return Bucket(name, prefix.strip("/"))


@dataclass(frozen=True, slots=True)
class Places:
    """The paths that a run uses, each with the setting or parameter that named it."""

    database: Path | None
    """The file of the database, None if it is on a server."""
    landing: Place
    sources: Path
    rules: Path
    publish: Place
    reports: Path
    staged: Path
    copy_name: str = "messaging.db"
    """The name of the published copy of the database."""
    landing_name: str = "LANDING_PATH"
    publish_name: str = "PUBLISH_PATH"

    @property
    def copy_path(self) -> Place:
        """The published copy of the database."""
        return self.publish / self.copy_name


@dataclass(frozen=True, slots=True)
class _Writer:
    """A folder that we write files into, and under which names."""

    name: str
    folder: Place
    writes: Callable[[str], bool]


def companion(database_path: Path, ending: str) -> Path:
    """Return the file with that suffix that belongs to a database; the same one whatever link leads to it."""
    resolved = _real(database_path)
    return resolved.with_name(resolved.name + ending)


def refuse_overlaps(places: Places) -> None:
    """Raise SettingsError if something of ours would overwrite, or be read as, something else of ours.

    Paths are compared by what they really are: links are followed, and two names of one folder are the same.
    """
    problem = next((each for look in _LOOKS for each in look(places)), None)
    if problem is not None:
        raise SettingsError(f"{problem} Nothing was written.")


def refuse_overwriting(places: Places, path: Path, name: str) -> None:
    """Raise SettingsError if a file that somebody names would overwrite, or be read as, something of ours."""
    where = next(
        (
            f"it is, or belongs to, the file that {setting} names ({file})"
            for setting, file in _files(places)
            if _is_same(path, file)
        ),
        f"it is in the folder of raw files ({places.landing_name}), and would be taken for one"
        if _lies_in(path, places.landing)
        else next(
            (
                f"files with such names are written there ({writer.name})"
                for writer in _writers(places)
                if writer.writes(path.name) and _is_same(path.parent, writer.folder)
            ),
            "",
        ),
    )
    if where:
        raise SettingsError(f"{name} names {path}: {where}; name another file. Nothing was written.")


def _without_meaning(places: Places) -> Iterator[str]:
    """Yield what no file system accepts as a path, or no database as its file."""
    named = [(places.landing_name, places.landing), (places.publish_name, places.publish)]
    if places.database is not None:
        named.append(("DATABASE_URL", places.database))
    for name, path in named:
        if "\0" in str(path):
            yield f"{name} holds a NUL character, which no path can; correct it."
            return
    # Path.exists raises where a folder above may not be looked into.
    if places.database is not None and os.path.exists(places.database) and not os.path.isfile(places.database):  # noqa: PTH110, PTH113
        yield f"DATABASE_URL names {places.database}, which is a folder or a device, not a file; correct it."


def _copy_over_database(places: Places) -> Iterator[str]:
    if places.database is None:
        return
    folders = (places.database.parent, _real(places.database).parent)
    copy = places.copy_path
    if any(_is_same(places.publish, folder) for folder in folders) or _is_same(copy, places.database):
        yield (
            f"{places.publish_name} names {places.publish}, where the published copy would take the place of the "
            f"database itself, {places.database}; let {places.publish_name} name another folder."
        )


def _over_another_file(places: Places) -> Iterator[str]:
    for name, file in _files(places):
        for writer in _writers(places):
            if writer.writes(file.name) and _is_same(file.parent, writer.folder):
                yield (
                    f"{writer.name} names {writer.folder}, where {file} ({name}) is, and files with such names are "
                    f"written there; let {writer.name} name another folder."
                )


def _twice_the_same(places: Places) -> Iterator[str]:
    files = _files_of_database(places)
    folders = (
        (places.publish_name, places.publish),
        ("REPORTS_PATH", places.reports),
        ("STAGED_PATH", places.staged),
    )
    others = (*_read_files(places), (places.landing_name, places.landing), *folders)
    for _, file in files:
        for name, other in others:
            if _is_same(file, other):
                yield (
                    f"{name} names {other}, which is the database of DATABASE_URL or a file that belongs to it; let "
                    f"{name} name another one."
                )


def _in_landing(places: Places) -> Iterator[str]:
    written = [
        (places.publish_name, places.publish),
        ("REPORTS_PATH", places.reports),
        ("STAGED_PATH", places.staged),
        *_files_of_database(places)[:1],
    ]
    if temporary := os.environ.get("TMPDIR"):
        written.append(("TMPDIR", Path(temporary)))
    for name, path in written:
        if _lies_in(path, places.landing):
            yield (
                f"{name} names {path}, which is in {places.landing}, the folder of raw files ({places.landing_name}):"
                f" what is written there would be taken for raw files; let {name} name a place outside it."
            )


_LOOKS = (_without_meaning, _copy_over_database, _twice_the_same, _in_landing, _over_another_file)


def _files(places: Places) -> list[tuple[str, Path]]:
    return [*_files_of_database(places), *_read_files(places)]


def _read_files(places: Places) -> tuple[tuple[str, Path], ...]:
    """Return the files that people write and a run reads."""
    return (("SOURCES_PATH", places.sources), ("RULES_PATH", places.rules))


def _files_of_database(places: Places) -> list[tuple[str, Path]]:
    """Return the file of the database first, then where it really is and what belongs to it."""
    if places.database is None:
        return []
    companions = (companion(places.database, ending) for ending in COMPANIONS)
    return [("DATABASE_URL", file) for file in (places.database, _real(places.database), *companions)]


def _writers(places: Places) -> tuple[_Writer, ...]:
    copy = places.copy_name
    return (
        _Writer(places.publish_name, places.publish, lambda name: name in (copy, copy + LOCK) or _is_parquet(name)),
        _Writer("REPORTS_PATH", places.reports, lambda name: name.endswith(".html")),
        _Writer("STAGED_PATH", places.staged, lambda name: name.endswith(STAGED_ENDING)),
    )


def _is_parquet(name: str) -> bool:
    return name.endswith(".parquet")


def _lies_in(path: Place, folder: Place) -> bool:
    if isinstance(path, Bucket) or isinstance(folder, Bucket):
        return isinstance(folder, Bucket) and folder.holds(path)
    real = _real(path)
    return any(_is_same(each, folder) for each in (real, *real.parents))


def _is_same(one: Place, other: Place) -> bool:
    """Whether both are the same file or folder; one that does not exist is compared only by its real path.

    The file system is also asked, because of upper and lower case, folders mounted twice and hard links.
    """
    if isinstance(one, Bucket) or isinstance(other, Bucket):
        return one == other
    if _real(one) == _real(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


def _real(path: Path) -> Path:
    # Unlike Path.resolve it does not raise for circular links; opening the path will report those.
    return Path(os.path.realpath(path))
