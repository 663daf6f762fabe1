"""Turns events and rules into send requests and suppressions. Runs inside the database; reads only the rules file."""

from src.marketing_messaging_service.decisions.again import named_rules
from src.marketing_messaging_service.decisions.audit import AUDIT
from src.marketing_messaging_service.decisions.decide import decide_pending
from src.marketing_messaging_service.decisions.in_shards import decide
from src.marketing_messaging_service.decisions.rule_warnings import recorded_rules_warnings
from src.marketing_messaging_service.decisions.rules_file import RulesFile, read_rules, read_settled_rules

__all__ = [
    "AUDIT",
    "RulesFile",
    "decide",
    "decide_pending",
    "named_rules",
    "read_rules",
    "read_settled_rules",
    "recorded_rules_warnings",
]
