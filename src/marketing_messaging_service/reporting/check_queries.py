"""The SQL that checks every number of a report, to be pasted into sqlite3 or psql: it is the same for both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.marketing_messaging_service.models import ReplayOutcome
from src.marketing_messaging_service.reporting.health import failing_loads, loads_with_examples

if TYPE_CHECKING:
    from src.marketing_messaging_service.reporting.run_report import RunReport


@dataclass(frozen=True, slots=True)
class CheckQuery:
    """A query, and the rows that it must give if the report is right."""

    title: str
    sql: str
    rows: tuple[tuple[Any, ...], ...]

    @property
    def sql_with_numbers(self) -> str:
        """The query, and in a comment what it must give where that is one row of numbers; other rows are a table's."""
        numbers = self.rows[0] if len(self.rows) == 1 else ()
        if not any(isinstance(number, int) for number in numbers) or any(
            number is not None and not isinstance(number, int) for number in numbers
        ):
            return self.sql
        return f"{self.sql}\n-- {'|'.join('' if number is None else str(number) for number in numbers)}"


def check_queries(report: RunReport) -> tuple[CheckQuery, ...]:
    """Return the queries that check a report; none for a preview, of which nothing was kept."""
    if report.is_preview:
        return ()
    queries = [_run(report)]
    if report.loads:
        queries += [_lines(report), _lines_by_file(report), _events(report)]
    if report.held_count:
        queries.append(_held_events(report))
    if report.ahead_count:
        queries.append(_ahead(report))
    if report.again_rules:
        queries.append(_again(report))
    if report.reasons:
        queries += [_rejected_by_reason(report), _rejected_lines(report)]
    if report.replayed:
        queries += [_replayed(report), _replayed_lines(report)]
    if report.unknown_keys:
        queries.append(_unknown_keys(report))
    if report.left_out:
        queries.append(_left_out(report))
    if report.rules:
        queries += [_rules(report), _matches_by_rule(report), _suppressed_by_reason(report)]
    if report.problems or report.warnings or report.left:
        queries.append(_remarks(report))
    return tuple(queries)


def _query(report: RunReport, title: str, sql: str, rows: tuple[tuple[Any, ...], ...]) -> CheckQuery:
    return CheckQuery(title, sql.replace(":run_id", str(int(report.run_id))), rows)


def _run(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Files taken before, files outside of the window, events decided",
        """\
SELECT known_file_count, outside_file_count, decided_count FROM runs WHERE id = :run_id;""",
        ((report.known_file_count, report.outside_file_count, report.decided_count),),
    )


def _lines(report: RunReport) -> CheckQuery:
    lines = report.lines
    counts = (lines.read, lines.inserted, lines.duplicate, lines.conflict, lines.collision)
    others = (lines.rejected, lines.blank, lines.dropped, lines.outside)
    return _query(
        report,
        "Files and lines: read = inserted + duplicate + collision + rejected + blank + dropped + outside",
        """\
SELECT count(*) AS files, sum(read_count) AS lines, sum(inserted_count) AS inserted,
       sum(duplicate_count) AS duplicate, sum(conflict_count) AS conflict,
       sum(collision_count) AS collision, sum(rejected_count) AS rejected, sum(blank_count) AS blank,
       sum(dropped_count) AS dropped, sum(outside_count) AS outside
FROM loads WHERE run_id = :run_id;""",
        ((len(report.loads), *counts, *others),),
    )


def _lines_by_file(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Lines by file",
        """\
SELECT f.path, l.read_count, l.inserted_count, l.duplicate_count, l.conflict_count,
       l.collision_count, l.rejected_count, l.blank_count, l.dropped_count, l.outside_count
FROM loads AS l JOIN source_files AS f ON f.id = l.source_file_id
WHERE l.run_id = :run_id ORDER BY l.id;""",
        tuple(
            (
                load.path,
                each.read,
                each.inserted,
                each.duplicate,
                each.conflict,
                each.collision,
                each.rejected,
                each.blank,
                each.dropped,
                each.outside,
            )
            for load in report.loads
            for each in (load.lines,)
        ),
    )


def _events(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Events inserted, counted one by one",
        """\
SELECT count(*) AS events
FROM loads AS l JOIN events AS e ON e.id BETWEEN l.first_event_id AND l.last_event_id
WHERE l.run_id = :run_id;""",
        ((report.lines.inserted,),),
    )


def _held_events(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Events held for a backfill to decide, decided since or not",
        """\
SELECT count(*) AS held
FROM loads AS l JOIN held_events AS h ON h.event_id BETWEEN l.first_event_id AND l.last_event_id
WHERE l.run_id = :run_id;""",
        ((report.held_count,),),
    )


def _ahead(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Events too far in the future to be decided; waiting_events has those that still wait",
        """\
SELECT ahead_count FROM batches WHERE run_id = :run_id;""",
        ((report.ahead_count,),),
    )


def _again(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Decisions on events that were decided before; batch_rules says by which rules, former_suppressions what they "
        "replaced",
        """\
SELECT sum(again_count) AS again FROM batches WHERE run_id = :run_id;""",
        ((report.again_count,),),
    )


def _rejected_by_reason(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Lines kept aside, by reason: the rejected ones and the collisions",
        """\
SELECT r.reason_code, count(*) AS lines
FROM rejected_rows AS r JOIN loads AS l ON l.id = r.load_id
WHERE l.run_id = :run_id GROUP BY r.reason_code ORDER BY lines DESC, r.reason_code;""",
        tuple((reason.reason_code, reason.line_count) for reason in report.reasons),
    )


def _listed(ids: list[int]) -> str:
    return ", ".join(str(int(each)) for each in ids)


def _rejected_lines(report: RunReport) -> CheckQuery:
    failing = failing_loads(report.loads, report.max_rejected_percent)
    shown = loads_with_examples(report.loads, report.max_rejected_percent)
    first = f"r.load_id IN ({_listed(failing)}) DESC," if failing else ""
    return _query(
        report,
        "The first three lines of each reason and the first of each file; raw_line and explanation say more",
        """\
SELECT reason_code, path, line_number, field_name FROM (
    SELECT r.reason_code, f.path, r.line_number, r.field_name, r.load_id,
           row_number() OVER (PARTITION BY r.reason_code ORDER BY :failing r.load_id, r.line_number) AS place,
           row_number() OVER (PARTITION BY r.load_id ORDER BY r.line_number) AS place_in_file
    FROM rejected_rows AS r JOIN loads AS l ON l.id = r.load_id
    JOIN source_files AS f ON f.id = l.source_file_id
    WHERE l.run_id = :run_id) AS placed
WHERE place <= 3 OR place_in_file = 1 AND load_id IN (:shown)
ORDER BY reason_code, place;""".replace(":failing", first).replace(":shown", _listed(shown)),
        tuple(
            (reason.reason_code, example.path, example.line_number, example.field_name)
            for reason in sorted(report.reasons, key=lambda reason: reason.reason_code)
            for example in reason.examples
        ),
    )


def _replayed(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Rejected lines that were read again, by reason and what became of them",
        """\
SELECT reason_code, outcome, line_count FROM replay_counts
WHERE run_id = :run_id ORDER BY line_count DESC, reason_code, outcome, line_count;""",
        tuple((each.reason_code, each.outcome, each.line_count) for each in report.replayed),
    )


def _replayed_lines(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Rejected lines that were taken, counted one by one",
        """\
SELECT count(*) AS lines
FROM rejected_rows AS r JOIN loads AS l ON l.id = r.replayed_load_id
WHERE l.run_id = :run_id;""",
        ((report.replayed_as(ReplayOutcome.TAKEN),),),
    )


def _unknown_keys(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Unknown keys",
        """\
SELECT k.key_path, sum(k.occurrence_count) AS lines
FROM unknown_keys AS k JOIN loads AS l ON l.id = k.load_id
WHERE l.run_id = :run_id GROUP BY k.key_path ORDER BY lines DESC, k.key_path;""",
        tuple((key.key_path, key.line_count) for key in report.unknown_keys),
    )


def _left_out(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Values that events were loaded without, because they are invalid",
        """\
SELECT v.field_path, count(*) AS events
FROM left_out_values AS v JOIN loads AS l ON l.id = v.load_id
WHERE l.run_id = :run_id GROUP BY v.field_path ORDER BY events DESC, v.field_path;""",
        tuple((each.field_path, each.event_count) for each in report.left_out),
    )


def _rules(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "The rules as they were applied",
        """\
SELECT r.rule_name, r.trigger_event_type, r.condition_text, r.exclusive_group,
       r.template_name, r.channel, r.suppression_mode
FROM ruleset_rules AS r JOIN runs ON runs.ruleset_id = r.ruleset_id
WHERE runs.id = :run_id AND r.is_enabled ORDER BY r.rule_position;""",
        tuple(
            (
                rule.rule_name,
                rule.trigger_event_type,
                rule.condition_text,
                rule.exclusive_group,
                rule.template_name,
                rule.channel,
                rule.suppression_mode,
            )
            for rule in report.rules
        ),
    )


def _matches_by_rule(report: RunReport) -> CheckQuery:
    matched = sorted((rule for rule in report.rules if rule.matched_count), key=lambda rule: rule.rule_name)
    return _query(
        report,
        "Matches by rule: matched = sent + alerted + suppressed; a rule without a row matched nothing",
        """\
SELECT rule_name, count(*) AS matched, count(*) FILTER (WHERE outcome = 'sent') AS sent,
       count(*) FILTER (WHERE outcome = 'alerted') AS alerted,
       count(*) FILTER (WHERE outcome = 'suppressed') AS suppressed
FROM (
    SELECT rule_name, CASE channel WHEN 'internal' THEN 'alerted' ELSE 'sent' END AS outcome
    FROM send_requests WHERE run_id = :run_id
    UNION ALL
    SELECT rule_name, 'suppressed' FROM suppressions WHERE run_id = :run_id
    UNION ALL
    SELECT rule_name, 'suppressed' FROM former_suppressions WHERE run_id = :run_id) AS outcomes
GROUP BY rule_name ORDER BY rule_name;""",
        tuple((r.rule_name, r.matched_count, r.sent_count, r.alerted_count, r.suppressed_count) for r in matched),
    )


def _suppressed_by_reason(report: RunReport) -> CheckQuery:
    return _query(
        report,
        "Suppressed by rule and reason",
        """\
SELECT rule_name, suppression_reason, count(*) AS suppressed
FROM (
    SELECT rule_name, suppression_reason FROM suppressions WHERE run_id = :run_id
    UNION ALL
    SELECT rule_name, suppression_reason FROM former_suppressions WHERE run_id = :run_id) AS outcomes
GROUP BY rule_name, suppression_reason ORDER BY rule_name, suppression_reason;""",
        tuple(
            (rule.rule_name, reason, count)
            for rule in sorted(report.rules, key=lambda rule: rule.rule_name)
            for reason, count in rule.suppressed
        ),
    )


def _remarks(report: RunReport) -> CheckQuery:
    kinds = Counter(files.kind.value for files in report.left)
    kinds["problem"] = len(report.problems)
    kinds["warning"] = len(report.warnings)
    return _query(
        report,
        "Problems, warnings, and files left where they are; the columns subject and explanation say which and why",
        """\
SELECT kind, count(*) AS remarks FROM run_remarks
WHERE run_id = :run_id GROUP BY kind ORDER BY kind;""",
        tuple((kind, count) for kind, count in sorted(kinds.items()) if count),
    )
