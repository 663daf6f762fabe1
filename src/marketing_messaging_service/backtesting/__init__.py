"""Shows what rules would have decided: decides the history again on a copy, and compares. Writes no decision."""

from src.marketing_messaging_service.backtesting.backtest import Backtest, NamedRules, Question, backtest
from src.marketing_messaging_service.backtesting.difference import MANY_A_WEEK, Difference
from src.marketing_messaging_service.backtesting.forms import difference_json
from src.marketing_messaging_service.backtesting.report import Files, difference_markdown, write_files
from src.marketing_messaging_service.backtesting.words import difference_text, manager_sentence

__all__ = [
    "MANY_A_WEEK",
    "Backtest",
    "Difference",
    "Files",
    "NamedRules",
    "Question",
    "backtest",
    "difference_json",
    "difference_markdown",
    "difference_text",
    "manager_sentence",
    "write_files",
]
