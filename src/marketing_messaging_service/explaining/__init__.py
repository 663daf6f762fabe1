"""Answers about rules and decisions: why, why not, what is wrong with a file. Reads decisions, writes none."""

from src.marketing_messaging_service.explaining.explain_text import explanations_json, explanations_text, nothing_text
from src.marketing_messaging_service.explaining.one_user import events_of, explain_user
from src.marketing_messaging_service.explaining.rules_check import check_rules
from src.marketing_messaging_service.explaining.rules_drawing import rules_svg
from src.marketing_messaging_service.explaining.rules_schema import rules_schema_text
from src.marketing_messaging_service.explaining.rules_tests import run_tests
from src.marketing_messaging_service.explaining.rules_tests_file import tests_path
from src.marketing_messaging_service.explaining.rules_words import rules_in_words

__all__ = [
    "check_rules",
    "events_of",
    "explain_user",
    "explanations_json",
    "explanations_text",
    "nothing_text",
    "rules_in_words",
    "rules_schema_text",
    "rules_svg",
    "run_tests",
    "tests_path",
]
