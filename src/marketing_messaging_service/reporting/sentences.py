"""Says what a run did in one line, and what went wrong with what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.marketing_messaging_service.errors import WHO_DOES_THE_REST
from src.marketing_messaging_service.models import RemarkKind, ReplayOutcome, RunState
from src.marketing_messaging_service.reporting.run_report import LineCounts, Problem, RunReport, WaitsReport
from src.marketing_messaging_service.reporting.tables import many

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WITHOUT_A_WORD = f"It ended without a word. {WHO_DOES_THE_REST}"

MOST_IN_SENTENCE = 3
"""How many problems a run's one sentence gives in full."""

MOST_PROBLEMS = 25
"""How many problems a report lists."""

_ENDINGS = {RunState.STOPPED: "Stopped", RunState.KILLED: "Killed", RunState.FAILED: "Failed"}


def headline(report: RunReport) -> str:
    """Return the whole run in one line."""
    parts = ["Preview, nothing was kept."] if report.is_preview else []
    if report.state in (RunState.STOPPED, RunState.KILLED):
        parts.append(f"{_ENDINGS[report.state]} before its end.")
    left = left_sentences(report)
    parts.extend(left)
    parts.extend(filter(None, [replay_sentence(report)]))
    did_something = report.decided_count or report.held_count or report.ahead_count or report.again_rules
    if report.loads or did_something or report.waits.ended_count:
        parts.extend(_work(report))
    elif report.is_replay:
        parts.append("Nothing was taken.")
    elif report.problems or report.known_file_count is None:
        parts.append("Nothing was taken" + (f": {many(len(report.problems), 'problem')}." if report.problems else "."))
    elif report.outside_file_count:
        parts.extend(_nothing_in_window(report.known_file_count, report.outside_file_count))
    elif left:
        had = "had" if report.known_file_count else ""
        parts += [f"{many(report.known_file_count, 'other file')} {had} been taken before."] if had else []
    else:
        # A backfill often has another folder.
        folder = "landing" if report.window_start_at is None else "its folder"
        known = f"{many(report.known_file_count, 'file')} in {folder}, all taken before"
        parts.append(f"Nothing new: {known if report.known_file_count else f'no files in {folder}'}.")
    parts.extend(filter(None, [waits_sentence(report.waits, is_preview=report.is_preview)]))
    if report.warnings:
        parts.append(f"{many(len(report.warnings), 'warning')}.")
    parts.extend(report.unusual)
    waiting = sum(files.file_count for files in report.left_as(RemarkKind.WAITING))
    if waiting:
        parts.append(f"{many(waiting, 'file')} still being written, left for the next run.")
    return " ".join(parts)


def _nothing_in_window(known_count: int, outside_count: int) -> list[str]:
    """Return why a run with a window found nothing new in it, although files hold other events."""
    were = "was" if known_count == 1 else "were"
    known = [f"{many(known_count, 'file')} {were} taken before."] if known_count else []
    return ["Nothing new in the window.", *known, _nothing_else(outside_count)]


def _nothing_else(outside_count: int) -> str:
    """Return what to say about files whose events outside the window a run left."""
    holds, its = ("holds", "its") if outside_count == 1 else ("hold", "their")
    return (
        f"{many(outside_count, 'file')} {holds} nothing new in the window; {its} events outside it were left, and a "
        f"backfill whose window covers them takes them."
    )


def left_sentences(report: RunReport) -> list[str]:
    """Return what is in the folder that no run takes as it is, one sentence per kind of reason."""
    kinds = ((RemarkKind.UNREADABLE, "of which no line can be read"), (RemarkKind.IGNORED, "not taken because of"))
    sentences = []
    for kind, words in kinds:
        left = report.left_as(kind)
        count = sum(files.file_count for files in left)
        if not count:
            continue
        name = "" if kind is RemarkKind.UNREADABLE else " its name" if count == 1 else " their names"
        shown = "; ".join(f"{files.names} ({files.explanation})" for files in left[:MOST_IN_SENTENCE])
        beyond = sum(files.file_count for files in left[MOST_IN_SENTENCE:])
        more = f"; and {beyond:,} more" if beyond else ""
        sentences.append(f"{many(count, 'file')} {words}{name}: {shown}{more}.")
    return sentences


def _work(report: RunReport) -> list[str]:
    would = "would be " if report.is_preview else ""
    equation = line_equation(report.lines, is_preview=report.is_preview)
    nothing = [] if left_sentences(report) or report.is_replay else ["Nothing new."]
    parts = [f"{many(len(report.loads), 'file')}: {equation}."] if report.loads else nothing
    if report.outside_file_count:
        parts.append(_nothing_else(report.outside_file_count))
    if report.decided_count is not None:
        outcome = outcome_equation(
            report.sent_count, report.suppressed_count, report.alerted_count, report.expired_count
        )
        parts.append(f"{many(report.decided_count, 'event')} {would}decided{_again(report)}: {outcome}.")
        parts += filter(None, [expired_sentence(report)])
        ahead = ahead_sentence(report.ahead_count, report.max_event_ahead_hours, is_preview=report.is_preview)
        parts.extend(filter(None, [ahead]))
    elif report.held_count:
        parts.append(f"{many(report.held_count, 'event')} {would}held for a backfill to decide.")
    return parts


def replay_sentence(report: RunReport) -> str:
    """Return the outcomes of the rejected lines that a replay was to read again; nothing for any other run."""
    if not report.is_replay:
        return ""
    if not report.replayed:
        # A finished run reports the outcome of each line.
        if report.state is not RunState.COMPLETED:
            return ""
        return f"There are no {report.source} that wait for a replay."
    taken, before = report.replayed_as(ReplayOutcome.TAKEN), report.replayed_as(ReplayOutcome.TAKEN_BEFORE)
    every = sum(each.line_count for each in report.replayed) - before
    others = (
        (every - taken - report.replayed_as(*NOT_READ), "still rejected"),
        *((report.replayed_as(outcome), words) for outcome, words in NOT_READ.items()),
    )
    said = ", ".join(
        [f"{taken:,} {'to take' if report.is_preview else 'taken'}", *(f"{n:,} {w}" for n, w in others if n)]
    )
    passed_over = f" {many(before, 'edited line')} had been replayed before." if before else ""
    return f"{many(every, 'rejected line')} read again: {said}.{passed_over}"


NOT_READ: Mapping[ReplayOutcome, str] = {
    ReplayOutcome.KEPT_IN_PART: "kept in part only, whose files must be delivered again",
    ReplayOutcome.NO_SOURCE: "of files that no pattern of sources.yaml names",
    ReplayOutcome.FAILED: "that could not be read or loaded",
}
"""What to say, after their number, about rejected lines that were not read."""


def _again(report: RunReport) -> str:
    if not report.again_rules:
        return ""
    made = "would be made" if report.is_preview else "made"
    rules = ", ".join(report.again_rules)
    return f", and {many(report.again_count, 'decision')} {made} on events decided before (by {rules})"


def expired_sentence(report: RunReport) -> str:
    """Return how many messages were too old to go out, and where they are listed; nothing if none was."""
    count, hours = report.expired_count, report.max_event_age_hours
    if not count:
        return ""
    were_not = "would not be" if report.is_preview else "was not" if count == 1 else "were not"
    limit = f"the limit of {hours} h" if hours else "the age limit of the run that loaded them"
    their_events = "its event is" if count == 1 else "their events are"
    messages = f"{many(count, 'message')} {were_not} sent, because {their_events} older than {limit}."
    if report.is_preview:
        return messages
    return (
        f"{messages} Each is in suppressions, with the reason expired; a backfill with decide_again and a larger "
        "max_event_age_hours decides them again."
    )


def waits_sentence(waits: WaitsReport, *, is_preview: bool = False) -> str:
    """Return what became of matches of rules that wait; nothing if none is waiting or has waited."""
    parts = []
    if waits.begun_count:
        parts.append(f"{waits.begun_count} {'would begin' if is_preview else 'began'} to wait")
    if waits.ended_count:
        came = [(waits.decided_count, "decided"), (waits.no_match_count, "whose conditions did not hold")]
        lapsed = ", ".join(f"{name} {count}" for name, count in waits.lapsed)
        outcomes = [f"{count} {words}" for count, words in came if count]
        outcomes += [f"lapsed because no rule takes them over: {lapsed}"] if lapsed else []
        parts.append(f"{waits.ended_count} had waited long enough ({'; '.join(outcomes)})")
    if not parts and not waits.waiting_count:
        return ""
    late = f" ({waits.late_count} of them only for later data)" if waits.late_count else ""
    parts.append(f"{waits.waiting_count} {'would wait' if is_preview else 'wait'} now{late}")
    return f"Matches of rules with wait: {', '.join(parts)}."


def ahead_sentence(count: int, hours: int | None, *, is_preview: bool = False) -> str:
    """Return what happens to events that are too far in the future; nothing if there are none."""
    if not count:
        return ""
    are, wait = ("is", "waits") if count == 1 else ("are", "wait")
    wait = "would wait" if is_preview else wait
    its = "its time has" if count == 1 else "their times have"
    return (
        f"{many(count, 'event')} {are} more than {hours} h in the future of as_of and {wait} until {its} come; a clock "
        "must be wrong."
    )


def no_rule_sentence(rules_path: Path, waiting_count: int, *, is_preview: bool = False) -> str:
    """Return what to say when no rule of the file is enabled."""
    decided = "nothing would be decided" if is_preview else "nothing was decided"
    if not waiting_count:
        return f"{rules_path} enables no rule, so events that come will wait until one is enabled."
    return (
        f"{rules_path} enables no rule, so {decided}. Enable a rule, or put back those that were there; the events are "
        "decided then."
    )


def line_equation(lines: LineCounts, *, is_preview: bool = False) -> str:
    """Return the counts of lines as a sum that a person can check."""
    conflicts = f" ({many(lines.conflict, 'conflict')})" if lines.conflict else ""
    collisions = f" + {lines.collision} collision" if lines.collision else ""
    dropped = f" + {lines.dropped} dropped" if lines.dropped else ""
    outside = f" + {lines.outside} outside the window" if lines.outside else ""
    return (
        f"{many(lines.read, 'line')} = {lines.inserted} {'to insert' if is_preview else 'inserted'} + "
        f"{lines.duplicate} duplicate{conflicts}{collisions} + {lines.rejected} rejected + {lines.blank} blank"
        f"{dropped}{outside}"
    )


def outcome_equation(sends: int, suppressions: int, alerts: int, expired: int = 0) -> str:
    """Return the results of deciding."""
    of_them = f" ({expired} expired)" if expired else ""
    return f"{many(sends, 'send')}, {many(suppressions, 'suppression')}{of_them}, {many(alerts, 'alert')}"


def problem_sentence(report: RunReport) -> str:
    """Return what went wrong (the first problems in full) and what happened to the rest, all on one line."""
    if not report.problems:
        return ending_sentence(report)
    beyond = len(report.problems) - MOST_IN_SENTENCE
    parts = [
        f"{many(len(report.problems), 'problem')}.",
        *(told(problem) for problem in report.problems[:MOST_IN_SENTENCE]),
        *([f"The report names {beyond} more."] if beyond > 0 else []),
        _rest(report),
    ]
    return " ".join(filter(None, parts))


def _rest(report: RunReport) -> str:
    """Return what happened to everything without a problem; nothing if there was nothing else."""
    subjects = {problem.subject for problem in report.problems}
    if all(load.path in subjects for load in report.loads) and not report.decided_count:
        return ""
    done = "loaded and decided" if report.decided_count is not None else "loaded"
    return f"Everything else {'would be' if report.is_preview else 'was'} {done}."


def problems_told(report: RunReport) -> tuple[str, ...]:
    """Return everything that went wrong, a sentence or two each; of very many, the first ones and how many more.

    A problem that is a list, such as every mistake in a rules file, has a line for each entry.
    """
    if not report.problems:
        return tuple(filter(None, [ending_sentence(report)]))
    beyond = len(report.problems) - MOST_PROBLEMS
    first = ["\n".join(_lines_of(problem)) for problem in report.problems[:MOST_PROBLEMS]]
    more = f"and {many(beyond, 'more problem')}; all of them are in run_remarks, under run {report.run_id}"
    return (*first, more) if beyond > 0 else tuple(first)


def warnings_told(report: RunReport) -> tuple[str, ...]:
    """Return the first things that somebody should look at, a sentence or two each, and how many more there are."""
    beyond = len(report.warnings) - MOST_PROBLEMS
    more = (f"and {beyond:,} more.",) if beyond > 0 else ()
    return (*report.warnings[:MOST_PROBLEMS], *more)


def told(problem: Problem) -> str:
    """Return a problem on one line, with its subject named once."""
    return " ".join(_lines_of(problem))


def _lines_of(problem: Problem) -> list[str]:
    lines = [" ".join(line.split()) for line in problem.explanation.split("\n")]
    lines = [line for line in lines if line] or [""]
    # Most explanations begin with the name already.
    return lines if lines[0].startswith(problem.subject) else [f"{problem.subject}: {lines[0]}", *lines[1:]]


def ending_sentence(report: RunReport) -> str:
    """Return how a run ended early; nothing if it finished, or if its problems say so."""
    if report.problems or report.state not in _ENDINGS:
        return ""
    return report.message or (WITHOUT_A_WORD if report.state is RunState.KILLED else f"{_ENDINGS[report.state]}.")
