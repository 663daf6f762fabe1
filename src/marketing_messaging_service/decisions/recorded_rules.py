"""The rules of recorded rulesets, each of them once however many versions of the file contained it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from src.marketing_messaging_service.decisions.rule_blocks import whole_of_text
from src.marketing_messaging_service.decisions.rules import Rule, Rules
from src.marketing_messaging_service.decisions.rules_file import text_hash
from src.marketing_messaging_service.decisions.wording import condition_text
from src.marketing_messaging_service.errors import RulesError
from src.marketing_messaging_service.models import Ruleset


@dataclass(frozen=True, slots=True)
class RecordedRules:
    """An enabled rule, or those of one exclusive group in the order of the file, and the rulesets that had them."""

    rules: tuple[Rule, ...]
    ruleset_ids: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rules, in order."""
        return tuple(rule.name for rule in self.rules)


def recorded_rules(connection: Connection) -> list[RecordedRules]:
    """Return every rule or exclusive group that a recorded ruleset enabled; an unusable ruleset is skipped.

    A changed rule is another rule, and a group in which a rule was changed, added or moved is another group.
    """
    rules_by_text: dict[tuple[str, ...], tuple[Rule, ...]] = {}
    ruleset_ids: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for ruleset_id, every_rule in usable_rulesets(connection):
        for rules in _apart(rule for rule in every_rule if rule.enabled):
            text = tuple(rule.model_dump_json(exclude={"description"}) for rule in rules)
            rules_by_text.setdefault(text, rules)
            ruleset_ids[text].append(ruleset_id)
    return [RecordedRules(rules, tuple(ruleset_ids[text])) for text, rules in rules_by_text.items()]


def rows_of_rules(ruleset_id: int, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Return the rows of `ruleset_rules` for a ruleset's rules, in the order of the file."""
    return [
        {
            "ruleset_id": ruleset_id,
            "rule_name": rule.name,
            "rule_position": position,
            "description": rule.description,
            "is_enabled": rule.enabled,
            "trigger_event_type": rule.trigger.event_type,
            "condition_text": condition_text(rule),
            "exclusive_group": rule.exclusive_group,
            "template_name": rule.action.template_name,
            "channel": rule.action.delivery_method,
            "suppression_mode": rule.suppression.mode.value,
            "wait_hours": float(rule.wait.hours) if rule.wait else None,
            "expires_after_hours": None if rule.expires_after_hours is None else float(rule.expires_after_hours),
        }
        for position, rule in enumerate(rules, start=1)
    ]


def _apart(rules: Iterable[Rule]) -> list[tuple[Rule, ...]]:
    """Return rules one by one, except that those of an exclusive group are together."""
    together: dict[tuple[str, bool], list[Rule]] = defaultdict(list)
    for rule in rules:
        together[rule.exclusive_group or rule.name, rule.exclusive_group is None].append(rule)
    return [tuple(each) for each in together.values()]


def usable_rulesets(connection: Connection) -> Iterator[tuple[int, tuple[Rule, ...]]]:
    """Yield the usable rulesets by id, with all of their rules."""
    for ruleset_id, whole in usable_files(connection):
        yield ruleset_id, whole.rules


def usable_files(connection: Connection) -> Iterator[tuple[int, Rules]]:
    """Yield the usable rulesets by id, with all of their contents."""
    for row in connection.execute(select(Ruleset.id, Ruleset.content_hash, Ruleset.yaml_text).order_by(Ruleset.id)):
        try:
            yield row.id, _whole_of_recorded(row.content_hash, row.yaml_text)
        except RulesError:
            continue


def recorded_file(connection: Connection, ruleset_id: int) -> Rules | None:
    """Return all of a recorded ruleset's contents; None if it cannot be used."""
    found = select(Ruleset.content_hash, Ruleset.yaml_text).where(Ruleset.id == ruleset_id)
    row = connection.execute(found).one_or_none()
    try:
        return None if row is None else _whole_of_recorded(row.content_hash, row.yaml_text)
    except RulesError:
        return None


def read_recorded(content_hash: str, yaml_text: Any) -> tuple[Rule, ...]:
    """Return the rules as they were recorded. Raises RulesError when the text is not the recorded one, or unusable."""
    return _whole_of_recorded(content_hash, yaml_text).rules


def _whole_of_recorded(content_hash: str, yaml_text: Any) -> Rules:
    if not isinstance(yaml_text, str):
        raise RulesError("its text is stored as bytes or a number, as in a damaged file")
    if text_hash(yaml_text) != content_hash:
        raise RulesError(f"its text does not match its hash, {content_hash}")
    return whole_of_text(yaml_text, "its text")
