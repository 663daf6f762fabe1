"""Every way in which a run can end, every reason code and every error sentence is on the page of operations."""

import re
from pathlib import Path

import pytest

from flows.local_server import STOPPED_BY_HAND
from flows.pipeline.ctrl_c import StoppedError
from flows.pipeline.dead_runs import FOUND_AT_START
from flows.pipeline.endings import defect_sentence
from flows.pipeline.stopping import CUT_OFF
from src.marketing_messaging_service import errors
from src.marketing_messaging_service.dictionary.messages import Message, error_messages, kind_of
from src.marketing_messaging_service.errors import DatabaseError, PipelineError, RulesError
from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.reporting import check_headline
from src.marketing_messaging_service.reporting.health import too_many_rejected
from src.marketing_messaging_service.reporting.run_report import LeftFiles, LineCounts, LoadReport
from src.marketing_messaging_service.reporting.sentences import WITHOUT_A_WORD, headline, problem_sentence
from src.marketing_messaging_service.self_check.results import CheckReport, Finding
from src.marketing_messaging_service.vocabulary import ReasonCode, RunEnding
from tests.reporting.runs import LOAD, NOTHING, run_report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TABLE = PAGE.split("## What a run can say")[1].split("<!-- end of messages -->")[0]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][1:]
MESSAGES = error_messages()
BREACH = Finding("one_decision", "No rule decided twice", 1, ("events.id 1",))


def says(ending: RunEnding, sentence: str) -> bool:
    """Whether a sentence is one of an ending, in which `…` stands for what differs."""
    pattern = ".*".join(re.escape(part) for part in ending.split("…"))
    return re.fullmatch(f"{pattern}.*", sentence, re.DOTALL) is not None


def left(kind: RemarkKind) -> LeftFiles:
    return LeftFiles(kind, "a.dat, b.dat", "JSON lines", 2)


def test_the_page_has_one_row_for_everything_a_run_can_say_each_with_what_to_do() -> None:
    assert len(ROWS) == len(RunEnding) + len(ReasonCode) + len(MESSAGES)
    assert {len(row) for row in ROWS} == {3}
    assert all(remedy.strip() for *_, remedy in ROWS)


@pytest.mark.parametrize(
    ("sentence", "ending"),
    [
        (CUT_OFF, RunEnding.CANCELLED),
        (str(StoppedError("SIGINT at a safe point", 130)), RunEnding.STOPPED),
        (FOUND_AT_START, RunEnding.WORKER_DIED),
        (STOPPED_BY_HAND, RunEnding.STOPPED_WITH_UP),
        (WITHOUT_A_WORD, RunEnding.WITHOUT_A_WORD),
        (defect_sentence(KeyError("x")), RunEnding.DEFECT),
        (headline(run_report(loads=(LOAD, LOAD))), RunEnding.WORK),
        (headline(run_report(**NOTHING)), RunEnding.NOTHING_NEW),
        (headline(run_report(**NOTHING, left=(left(RemarkKind.IGNORED),))), RunEnding.NOT_TAKEN),
        (headline(run_report(**NOTHING, left=(left(RemarkKind.UNREADABLE),))), RunEnding.NOT_READ),
        (headline(run_report(left=(left(RemarkKind.WAITING),))).split("alert. ")[1], RunEnding.BEING_WRITTEN),
        (headline(run_report(ahead_count=2, max_event_ahead_hours=1)).split("alert. ")[1], RunEnding.IN_THE_FUTURE),
        (check_headline(CheckReport("messaging.db", "", "0024", {}, (BREACH, BREACH))), RunEnding.BROKEN),
    ],
)
def test_the_sentences_of_the_code_are_those_of_the_page(sentence: str, ending: RunEnding) -> None:
    assert says(ending, sentence)


def test_the_sentences_of_rejected_lines_are_those_of_the_page() -> None:
    load = LoadReport(1, "a.jsonl", LineCounts(read=12, rejected=12), 0.1)
    (first,), (again,) = (too_many_rejected([load], 5, {}, earlier=frozenset(ids)) for ids in ((), (1,)))
    assert says(RunEnding.REJECTED, f"{first.subject}: {first.explanation}")
    assert says(RunEnding.RETRIED, f"{again.subject}: {again.explanation}")
    assert says(RunEnding.PROBLEMS, problem_sentence(run_report(problems=(first, again))))


def test_every_kind_of_error_says_what_to_do() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PipelineError)]
    assert len(kinds) > 10
    assert all(kind.remedy for kind in kinds)


@pytest.mark.parametrize(
    "message",
    [
        Message("DatabaseError", "There is no database at … to publish; run the hourly job first."),
        # Advice, a text under a name, a function that gives the text, and a check of a setting's own.
        Message("DatabaseError", "The database cannot be used: …. It was interrupted; run again."),
        Message(
            "LeaseLostError",
            f"{'Another run took over, because this one sent no heartbeat for … s. Its'} "
            f"uncommitted work was rolled back. {errors.WHO_DOES_THE_REST}",
        ),
        Message("LandingError", "…: cannot be read: …. Correct it; the next run takes the file."),
        Message(
            "SettingsError",
            "…: names no database; expected postgresql+psycopg://user@host/database. Correct it in the environment or "
            "in .env.",
        ),
    ],
)
def test_a_sentence_is_found_however_the_code_makes_it(message: Message) -> None:
    assert message in MESSAGES


def test_a_message_knows_its_kind() -> None:
    assert kind_of(Message("RulesError", "")) is RulesError
    assert kind_of(Message("DatabaseError", "")) is DatabaseError
    assert kind_of(Message("UpError", "")) is PipelineError
