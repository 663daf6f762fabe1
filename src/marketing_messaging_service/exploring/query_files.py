"""The questions people ask, as files of SQL that run in any tool."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from src.marketing_messaging_service.errors import PipelineError

QUERIES_PATH = Path(__file__).resolve().parents[3] / "data" / "queries"

_HEAD_LINE = re.compile(r"-- (title|sentence|parameter (\w+)): (.+)")


class Subject(StrEnum):
    """What questions are about, in the order in which a person would look for them."""

    USER = "a user"
    DAY = "a day"
    FILES = "files and lines"


@dataclass(frozen=True, slots=True)
class Query:
    """One question: its name, what it asks and answers, its parameters with a hint for each, and its SQL."""

    name: str
    title: str
    sentence: str
    parameters: Mapping[str, str]
    sql: str

    @property
    def subject(self) -> Subject:
        """What it is about, by what it asks for."""
        if "user_id" in self.parameters:
            return Subject.USER
        return Subject.DAY if any(name.endswith("_date") for name in self.parameters) else Subject.FILES


def read_queries(folder: Path = QUERIES_PATH) -> tuple[Query, ...]:
    """Return the queries of a folder, by subject and name.

    Raises PipelineError when the head of one is malformed.
    """
    subjects = list(Subject)
    queries = (_read(path) for path in sorted(folder.glob("*.sql")))
    return tuple(sorted(queries, key=lambda query: subjects.index(query.subject)))


def _read(path: Path) -> Query:
    head: dict[str, str] = {}
    parameters: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    while lines and (found := _HEAD_LINE.fullmatch(lines[0])):
        if found[2]:
            parameters[found[2]] = found[3]
        else:
            head[found[1]] = found[3]
        lines.pop(0)
    sql = "\n".join(lines).strip().removesuffix(";")
    if head.keys() != {"title", "sentence"} or set(re.findall(r":([a-z]\w*)", sql)) != parameters.keys():
        raise PipelineError(
            f"{path} must begin with `-- title: …`, `-- sentence: …` and `-- parameter <name>: …` for each of its "
            "parameters."
        )
    return Query(path.stem, head["title"], head["sentence"], parameters, sql)
