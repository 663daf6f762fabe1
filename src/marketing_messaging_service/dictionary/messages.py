"""Reads every error sentence from the program's code, so that a page can list them all with what to do."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.marketing_messaging_service import errors
from src.marketing_messaging_service.errors import PipelineError

ROOT = Path(__file__).resolve().parents[3]

FOLDERS = ("flows", "src")

PLACEHOLDER = "…"

ADVICE = "_ADVICE"
"""The name of a module's sentences by what they are the advice for; `advice` in a message stands for one of them."""

DEEPEST = 3
"""Names and functions that lead to a text one after the other."""

FEWEST_LETTERS = 12
"""How many letters of its own a message has at least; one with fewer only passes on another's."""


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A sentence, with `…` for what differs, and the kind of error that says it."""

    kind: str
    sentence: str


@dataclass(frozen=True, slots=True)
class _Saying:
    """How a function that makes a sentence is called: the kind of error, the argument, and the text around it."""

    kind: str
    place: int = 0
    around: str = "{}"


_SAYINGS = {
    "FileProblem": _Saying("LandingError", 1, "…: {}"),
    "error": _Saying("RulesError"),
    "Fault": _Saying("RulesError", 0, "{} (line …)."),
    "expectation_error": _Saying("RulesError", 0, "… expected {}, found … (line …)."),
    "_composer_error": _Saying("RulesError", 0, "…, line …: not valid YAML for a …: {}."),
    "Complaint": _Saying("DatabaseError", 0, "The database cannot be used: {}"),
    # From a setting's own check.
    "ValueError": _Saying("SettingsError", 0, "…: {}. Correct it in the environment or in .env."),
}
"""Functions, other than the errors themselves, that take sentences."""

_PARTS = frozenset({"StoppedError"})
"""Errors made with a part of their sentence; RunEnding has the whole."""

_OWN_CHECKS = frozenset({"choice.py", "schedulers.py", "settings.py", "url.py"})
"""The modules in which a ValueError concerns a setting, and becomes a sentence; elsewhere it is a defect."""


def error_messages() -> tuple[Message, ...]:
    """Return every sentence of an error in the code, by kind, in the order of errors.py."""
    modules = [_Module(path) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    kinds = _kinds(modules)
    constants = {name: text for module in modules for name, text in module.constants.items()}
    found = {message for module in modules for message in module.messages(kinds, constants)}
    order = list(kinds)
    return tuple(sorted(found, key=lambda message: (order.index(message.kind), message.sentence)))


def kind_of(message: Message) -> type[PipelineError]:
    """Return a message's kind of error in errors.py; PipelineError for one that is defined elsewhere."""
    found: type[PipelineError] = getattr(errors, message.kind, PipelineError)
    return found


def _kinds(modules: Sequence["_Module"]) -> dict[str, None]:
    """Return the names of PipelineError and all of its subclasses, those of errors.py first."""
    names = {
        name: None
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, PipelineError)
    }
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in names for b in node.bases):
                names.setdefault(node.name)
    return names


class _Module:
    """A module of the program: its texts are read, nothing is run."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self._has_own_checks = path.name in _OWN_CHECKS
        self._functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        self._values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._values.setdefault(node.targets[0].id, []).append(node.value)
        self._known: Mapping[str, str] = {}
        self.constants: dict[str, str] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                for text in self._texts(node.value):
                    self.constants[node.targets[0].id] = text

    def messages(self, kinds: Mapping[str, None], constants: Mapping[str, str]) -> Iterator[Message]:
        """Yield the sentences of the module's errors; `constants` are texts defined under a name elsewhere."""
        self._known = constants
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            saying = _Saying(name) if name in kinds else _SAYINGS.get(name)
            if (
                name in _PARTS
                or saying is None
                or len(node.args) <= saying.place
                or (name == "ValueError" and not self._has_own_checks)
            ):
                continue
            for text in self._texts(node.args[saying.place]):
                if sum(character.isalpha() for character in text) >= FEWEST_LETTERS:
                    yield Message(saying.kind, " ".join(saying.around.format(text).split()))

    def _texts(self, node: ast.expr, depth: int = 0) -> list[str]:
        """Return all possible values of a text; none if it is not a text or is made elsewhere."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            texts = [""]
            for part in node.values:
                texts = [text + piece for text in texts for piece in self._pieces(part)]
            return texts
        if depth == DEEPEST:
            return []
        several: list[ast.expr] = []
        if isinstance(node, ast.IfExp):
            several = [node.body, node.orelse]
        elif isinstance(node, ast.Name):
            if text := self._constant(node.id):
                return [text]
            several = self._values.get(node.id, [])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._functions:
            inside = ast.walk(self._functions[node.func.id])
            several = [each.value for each in inside if isinstance(each, ast.Return) and each.value is not None]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._texts(node.left, depth + 1), self._texts(node.right, depth + 1)
            return [one + other for one in left for other in right]
        return [text for each in several for text in self._texts(each, depth + 1)]

    def _pieces(self, part: ast.expr) -> list[str]:
        if not isinstance(part, ast.FormattedValue):
            return self._texts(part)
        name = part.value.id if isinstance(part.value, ast.Name) else ""
        if name == "advice" and (advice := self._advice()):
            return advice
        return [self._constant(name) or PLACEHOLDER]

    def _constant(self, name: str) -> str | None:
        return self.constants.get(name) or self._known.get(name)

    def _advice(self) -> list[str]:
        """Return the texts of the module's advice, each once."""
        values = [
            each for value in self._values.get(ADVICE, []) if isinstance(value, ast.Dict) for each in value.values
        ]
        return list(dict.fromkeys(text for value in values for text in self._texts(value)))
