"""Answers about rules and decisions: why, why not, what is wrong with a file. Reads decisions, writes none."""

from src.marketing_messaging_service.explaining.asking import Answer, Asked, answer, asked_where
from src.marketing_messaging_service.explaining.not_taken import files_not_taken
from src.marketing_messaging_service.explaining.rules_check import check_rules
from src.marketing_messaging_service.explaining.rules_drawing import rules_svg
from src.marketing_messaging_service.explaining.rules_schema import rules_schema_text
from src.marketing_messaging_service.explaining.rules_tests import run_tests
from src.marketing_messaging_service.explaining.rules_tests_file import tests_path
from src.marketing_messaging_service.explaining.rules_words import rules_in_words

__all__ = [
    "Answer",
    "Asked",
    "answer",
    "asked_where",
    "check_rules",
    "files_not_taken",
    "rules_in_words",
    "rules_schema_text",
    "rules_svg",
    "run_tests",
    "tests_path",
]
