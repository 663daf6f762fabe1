"""Says what a run means to people who do not know the pipeline: what came in, what goes out, and what does not."""

from datetime import UTC, datetime

from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.models import ReplayOutcome, RunState
from src.marketing_messaging_service.reporting.health import seem_numbered_alike
from src.marketing_messaging_service.reporting.run_report import RunReport
from src.marketing_messaging_service.reporting.tables import counted


def manager_sentence(report: RunReport) -> str:
    """Return what a run means in one sentence, with another before or after it if something is unusual."""
    clauses = [*_waited(report), *_outcome(report), *_ahead(report), *_unread(report), *_colliding(report)]
    sentence = f"{_when(report)}, {'; '.join([_came_in(report), *filter(None, [', '.join(clauses)])])}."
    return " ".join([*_before(report), sentence, *_after(report)])


def _before(report: RunReport) -> list[str]:
    if report.is_preview:
        return ["This is a preview; nothing was kept."]
    if report.state in (RunState.STOPPED, RunState.KILLED):
        return [f"This run was {report.state} before its end."]
    return []


def _after(report: RunReport) -> list[str]:
    return [*_problems(report), *report.unusual]


def _problems(report: RunReport) -> list[str]:
    counts = (("problem", len(report.problems)), ("warning", len(report.warnings)))
    found = " and ".join(counted(count, name) for name, count in counts if count)
    if not found:
        return []
    return [f"{found} {'needs' if sum(count for _, count in counts) == 1 else 'need'} attention."]


def _when(report: RunReport) -> str:
    if report.window_start_at is not None and report.window_end_at is not None:
        return f"For the time from {instant_text(report.window_start_at)} to {instant_text(report.window_end_at)} UTC"
    since, until = report.came_in_since, report.started_at
    if since is None:
        return f"By {instant_text(until)} UTC"
    if instant_text(since) == instant_text(until):
        return f"Since {_clock(until)} UTC"
    if since.date() == until.date():
        return f"Between {_clock(since)} and {_clock(until)} UTC"
    return f"Between {instant_text(since)} and {instant_text(until)} UTC"


def _came_after_all(report: RunReport) -> str:
    """Return how many events came from lines that had been rejected."""
    count = sum(each.line_count for each in report.replayed) - report.replayed_as(ReplayOutcome.TAKEN_BEFORE)
    if not count and not report.lines.inserted:
        is_told = report.state is RunState.COMPLETED
        return "there was no rejected line to read again" if is_told else "nothing was taken in"
    events = counted(report.lines.inserted, "event") if report.lines.inserted else "no event"
    would = "would come" if report.is_preview else "came"
    of_lines = counted(count, "line") if count else "lines"
    return f"{events} {would} of {of_lines} that had been rejected"


def _came_in(report: RunReport) -> str:
    lines = report.lines
    would = "would come" if report.is_preview else "came"
    if report.is_replay:
        return _came_after_all(report)
    if lines.inserted:
        return f"{counted(lines.inserted, 'event')} {would} in"
    if lines.rejected == 1 and _is_nothing_readable(report):
        return "the only line that came could not be read"
    if _is_nothing_readable(report):
        return f"not one of the {counted(lines.rejected, 'line')} could be read"
    if not report.loads and (report.problems or report.known_file_count is None):
        return "nothing was taken in"
    return f"nothing new {would} in"


def _is_nothing_readable(report: RunReport) -> bool:
    return 0 < report.lines.rejected == report.lines.read - report.lines.blank


def _unread(report: RunReport) -> list[str]:
    if not report.lines.rejected or _is_nothing_readable(report):
        return []
    return [f"{counted(report.lines.rejected, 'line')} could not be read"]


def _colliding(report: RunReport) -> list[str]:
    count = report.lines.collision
    if not count:
        return []
    have = "has" if count == 1 else "have"
    were = _verb(report, count, "was", "were", "would be")
    alike = seem_numbered_alike(report.loads, report.max_rejected_percent)
    why = ": two producers seem to number their events alike" if alike else ""
    return [f"{counted(count, 'line')} {have} the message_id of another event and {were} kept aside{why}"]


def _waited(report: RunReport) -> list[str]:
    if not report.earlier_count:
        return []
    were = _verb(report, report.earlier_count, "was", "were", "would be")
    as_well = " as well" if report.lines.inserted else ""
    return [f"{counted(report.earlier_count, 'event')} that had waited {were} decided{as_well}"]


def _outcome(report: RunReport) -> list[str]:
    if report.held_count:
        were = _verb(report, report.held_count, "is", "are", "would be")
        return [f"they {'are' if were == 'is' else were} kept undecided, because this run was asked only to load"]
    if report.decided_count is None:
        wait = "what they earn could not be decided, and they wait for the next run"
        return [wait] if report.lines.inserted and not report.is_preview else []
    if not report.decided_count and not report.again_count:
        return ["no earlier event earns a message from the rules that decided again"] if report.again_rules else []
    if not report.matched_count:
        whom = "those that were decided" if report.ahead_count else "them"
        return [f"none of {whom} earns a message"]
    had, expired = report.suppressed_count - report.expired_count, report.expired_count
    return [
        *_again(report),
        *_messages(report),
        *_alerts(report),
        *_not_sent(report, had, "again because the user already got it", "again because the users already got them"),
        *_not_sent(report, expired, "because its event is too old", "because their events are too old"),
    ]


def _again(report: RunReport) -> list[str]:
    if not report.again_count:
        return []
    were = _verb(report, report.again_count, "was", "were", "would be")
    return [f"{counted(report.again_count, 'decision')} {were} made on events from before, as this run was asked to"]


def _ahead(report: RunReport) -> list[str]:
    if not report.ahead_count:
        return []
    wait = _verb(report, report.ahead_count, "waits", "wait", "would wait")
    its = "its" if report.ahead_count == 1 else "their"
    return [f"{counted(report.ahead_count, 'event')} from the future {wait} for {its} time"]


def _messages(report: RunReport) -> list[str]:
    count = report.sent_count
    if not count:
        return [f"no message {_verb(report, 1, 'goes', 'go', 'would go')} out"]
    return [f"{counted(count, 'message')} {_verb(report, count, 'goes', 'go', 'would go')} out"]


def _alerts(report: RunReport) -> list[str]:
    count = report.alerted_count
    go = _verb(report, count, "goes", "go", "would go")
    return [f"{counted(count, 'alert')} {go} to our own people"] if count else []


def _not_sent(report: RunReport, count: int, why_one: str, why_many: str) -> list[str]:
    were_not = _verb(report, count, "was not", "were not", "would not be")
    return [f"{counted(count, 'message')} {were_not} sent {why_one if count == 1 else why_many}"] if count else []


def _verb(report: RunReport, count: int, one: str, several: str, conditional: str) -> str:
    return conditional if report.is_preview else one if count == 1 else several


def _clock(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%H:%M}"
