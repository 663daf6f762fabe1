"""Makes the tables within hand-written pages of docs/ from the vocabulary's records, in Markdown."""

import re
from collections.abc import Callable, Mapping, Sequence

from src.marketing_messaging_service.dictionary.messages import error_messages, kind_of
from src.marketing_messaging_service.vocabulary import (
    DELIVERY_KEYS,
    PAYLOAD,
    Kind,
    Operator,
    ReasonCode,
    RunEnding,
    SuppressionMode,
    SuppressionReason,
)

_BEGIN = "<!-- {} (written by `make docs`; a change here is lost) -->"
_END = "<!-- end of {} -->"


def raw_fields() -> str:
    """Return what each property and trait may be in a raw event."""
    rows = [(f"`{field.path}`", field.kind.raw_form(field)) for field in PAYLOAD.fields]
    return _table(("key", "may be"), rows)


def reason_codes() -> str:
    """Return why a raw line is rejected, and what to do about it."""
    return _table(
        ("reason_code", "what it means", "what to do"),
        [(f"`{code}`", code.meaning, code.remedy) for code in ReasonCode],
    )


def delivery_keys() -> str:
    """Return the keys that describe a delivery and not the event."""
    return ", ".join(f"`{key}`" for key in DELIVERY_KEYS)


def rule_fields() -> str:
    """Return the fields that a condition may look at, by what they hold."""
    by_kind: dict[Kind, list[str]] = {}
    for field in PAYLOAD.fields:
        by_kind.setdefault(field.kind, []).append(f"`{field.path}`")
    rows = [(", ".join(paths), kind.holds, _operators(kind)) for kind, paths in by_kind.items()]
    return _table(("field", "holds", "operators"), rows)


def operators() -> str:
    """Return the operators, and the kind of value that each takes."""
    return _table(
        ("operator", "holds when the field", "takes"),
        [(f"`{operator}`", operator.words, operator.operand.value) for operator in Operator],
    )


def once_modes() -> str:
    """Return the suppression modes, and how often each lets a user have a message."""
    rows = [(f"`{mode}`{', with `hours`' if mode.needs_hours else ''}", mode.words) for mode in SuppressionMode]
    return _table(("mode", "a user gets the message at most"), rows)


def suppression_reasons() -> str:
    """Return why a message is suppressed, in the order in which a reason is recorded."""
    rows = []
    for number, reason in enumerate(SuppressionReason, start=1):
        obstacle = f"{reason.obstacle}, in `{reason.blocked_by}`" if reason.blocked_by else "nothing more"
        rows.append((f"{number}. {reason.what}", reason.written, obstacle))
    return _table(("", "`suppression_reason`", "what stood in the way"), rows)


def messages() -> str:
    """Return the ways in which a run can end, why lines are rejected, and every error sentence, with what to do."""
    endings = [(ending, f"{ending.state}: {ending.meaning}", ending.remedy) for ending in RunEnding]
    codes = [(f"`{code}`", f"a rejected line, or file: {code.meaning}", code.remedy) for code in ReasonCode]
    errors = [
        (_in_a_cell(message.sentence), f"`{message.kind}`", kind_of(message).remedy) for message in error_messages()
    ]
    return _table(("what you see", "what it is", "what to do"), [*endings, *codes, *errors])


def _in_a_cell(sentence: str) -> str:
    """Return a sentence without anything that Markdown would interpret, except code."""
    return re.sub(r"[|<*\[\]]", lambda sign: f"\\{sign[0]}", sentence)


SECTIONS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "raw-events.md": {"fields": raw_fields, "delivery keys": delivery_keys, "reason codes": reason_codes},
    "operations.md": {"messages": messages},
    "rules.md": {
        "fields": rule_fields,
        "operators": operators,
        "once modes": once_modes,
        "suppression reasons": suppression_reasons,
    },
}
"""The pages, and the content of each section by its name."""


def with_sections(page: str, sections: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with its sections rewritten. Raises ValueError when it lacks the marks of one."""
    for name, write in sections.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        found = pattern.findall(page)
        if len(found) != 1:
            raise ValueError(f"the page must have these two lines once: {begin} and {end}")
        page = page.replace(found[0], f"{begin}\n\n{write()}\n\n{end}")
    return page


def _operators(kind: Kind) -> str:
    without = [f"`{operator}`" for operator in Operator if not operator.takes.suits(kind)]
    return f"all but {' '.join(without)}" if without else "all"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    lines.insert(1, "|" + "---|" * len(heads))
    return "\n".join(lines)
