"""Puts a difference into words: one sentence, and tables."""

import shlex
from collections.abc import Iterator, Sequence

from src.marketing_messaging_service.backtesting.comparison import KINDS, MOVED, OTHERWISE
from src.marketing_messaging_service.backtesting.difference import Change, Counts, Difference, Stop
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.reporting.tables import Table, counted, printable, table_of, text_table

LONGEST = 300
MOST_EXAMPLES = 10

MOST_A_WEEK = 8
"""From this many messages a week, users are shown together."""

WEEKS, STOPS = "Messages a user gets in a week", "Who stops whom"
"""Titles of the tables that the HTML report draws instead."""

Cells = dict[tuple[str, str], Counts]


def manager_sentence(found: Difference) -> str:
    """Return the difference in one sentence."""
    window = f"between {instant_text(found.since)} and {instant_text(found.until)} UTC"
    if found.late is not None:
        late = sum(each.late_count for each in found.late)
        if not found.change_count:
            came = f"though {counted(late, 'event')} came late" if late else "and no event came late"
            return f"With every event on time, the same rules would have decided the same {window}, {came}."
        return (
            f"With every event on time, {counted(found.change_count, 'decision')} {window} would have been "
            f"different: {_messages(found)}. {_counted(late, 'event')} came late."
        )
    if not found.change_count:
        return f"Nothing would change {window}: each of {counted(found.event_count, 'event')} is decided as before."
    users = f"{counted(found.user_count, 'user')} would get other messages" if found.user_count else "no user notices"
    return (
        f"With {found.after_name} in place of {found.before_name}, {_sent(found)} would have gone out "
        f"{window} instead of {found.sends.before:,}: {_messages(found)}; {users}."
    )


def _sent(found: Difference) -> str:
    return _counted(found.sends.after, "message").replace("No ", "no ")


def _messages(found: Difference) -> str:
    moved = sum(rule.moved_count for rule in found.rules)
    counts = (
        (sum(rule.new_count for rule in found.rules), "new"),
        (sum(rule.gone_count for rule in found.rules), "gone"),
        (moved, "moved in time"),
        (found.kinds.get(OTHERWISE, 0), "changed"),
    )
    said = [f"{count:,} {what}" for count, what in counts if count]
    return ", ".join(said) or "no message changes, only alerts or refusals"


def _counted(count: int, noun: str) -> str:
    return counted(count, noun) if count else f"No {noun}"


def _signed(counts: Counts) -> str:
    change = counts.after - counts.before
    return f"{change:+,}" if change else "="


def rules_table(found: Difference) -> Table:
    """Return what each rule sent and refused, before and after."""
    return table_of(
        "Messages by rule",
        ("rule", "message", "before", "after", "", "new", "gone", "moved", "refused before", "refused after"),
        (
            (
                rule.rule_name,
                rule.template_name,
                rule.sends.before + rule.alerts.before,
                rule.sends.after + rule.alerts.after,
                _signed(Counts(rule.sends.before + rule.alerts.before, rule.sends.after + rule.alerts.after)),
                rule.new_count,
                rule.gone_count,
                rule.moved_count,
                rule.suppressions.before,
                rule.suppressions.after,
            )
            for rule in found.rules
        ),
        note="before - gone + new = after; alerts to our own people are counted as messages here"
        if found.alerts != Counts()
        else "before - gone + new = after",
    )


def reasons_table(found: Difference) -> Table:
    """Return how often each rule was refused for each reason, where that differs."""
    differing = [each for each in found.reasons if each.suppressions.before != each.suppressions.after]
    return table_of(
        "Refusals that differ",
        ("rule", "reason", "before", "after", ""),
        (
            (each.rule_name, each.reason, each.suppressions.before, each.suppressions.after, _signed(each.suppressions))
            for each in differing
        ),
    )


def kinds_table(found: Difference) -> Table:
    """Return how many decisions changed in which way."""
    return table_of(
        "Changed decisions",
        ("what", "decisions"),
        ((KINDS[kind], count) for kind, count in found.kinds.items()),
        note="a message moved in time counts as two decisions, the one that is gone and the one that is new"
        if MOVED in found.kinds
        else "",
    )


def weeks_table(found: Difference) -> Table:
    """Return how many messages a user gets in a week."""
    return table_of(
        WEEKS,
        ("messages", "before", "after", ""),
        ((name, counts.before, counts.after, _signed(counts)) for name, counts in weeks_shown(found)),
        note=f"counted per user and week from Monday; users with more than {found.more_than} in any week: "
        f"{found.crowded_users.before:,} before, {found.crowded_users.after:,} after",
    )


def weeks_shown(found: Difference) -> list[tuple[str, Counts]]:
    """Return the same by number, with the largest ones together."""
    few = [(str(number), counts) for number, counts in found.weeks if number < MOST_A_WEEK]
    many = [counts for number, counts in found.weeks if number >= MOST_A_WEEK]
    together = Counts(sum(each.before for each in many), sum(each.after for each in many))
    return [*few, (f"{MOST_A_WEEK} or more", together)] if many else few


def users_table(found: Difference) -> Table:
    """Return the users whose messages change most."""
    return table_of(
        "Users who change most",
        ("user", "before", "after", "new", "gone", "moved"),
        (
            (
                masked(user.user_id),
                user.sends.before,
                user.sends.after,
                user.new_count,
                user.gone_count,
                user.moved_count,
            )
            for user in found.users
        ),
    )


def late_table(found: Difference) -> Table:
    """Return which late events changed what."""
    return table_of(
        "What late events changed",
        ("late events", "how many", "how many changed something", "decisions changed", "for example"),
        (
            (each.event_type, each.late_count, each.changing_count, each.change_count, masked(each.example))
            for each in found.late or ()
        ),
        note=f"{counted(found.unexplained_count, 'change')} that no late event of the same user explains"
        if found.unexplained_count
        else "",
        longest=LONGEST,
    )


def examples_tables(found: Difference) -> Iterator[Table]:
    """Yield the first changes of each kind, each with the command that explains what was decided."""
    for kind, changes in found.examples.items():
        yield table_of(
            f"Examples: {KINDS[kind]}",
            ("user", "event", "rule", "before", "after", "why it was decided so"),
            (_example(change) for change in changes[:MOST_EXAMPLES]),
            longest=LONGEST,
        )


def _example(change: Change) -> tuple[str, ...]:
    event = f"{change.event_type} {change.message_id} at {change.event_timestamp[:16]}"
    return (
        masked(change.user_id),
        masked(event),
        change.rule_name,
        _outcome(change.before, change.at_before, change),
        _outcome(change.after, change.at_after, change),
        explain_command(change),
    )


def _outcome(outcome: str | None, at: str | None, change: Change) -> str:
    if outcome is None:
        return "no match"
    # With a space after each colon, where a narrow column can break the line.
    said = outcome.replace(":", ": ")
    # The time matters only if it is not the event's own.
    return said if at is None or at == change.event_timestamp else f"{said} at {at[:16]}"


def explain_command(change: Change) -> str:
    """Return the command that explains what was decided on an event.

    It names the rule if that decided something; a rule that only the new file has is unknown to the database.
    """
    user, message = shlex.quote(printable(change.user_id, LONGEST)), shlex.quote(printable(change.message_id, LONGEST))
    rule = f" --rule {change.rule_name}" if change.before else ""
    return masked(f"python -m flows.explain --user {user} --event {message}{rule}")


def stopped_by(stop: Stop) -> str:
    """Return the name of what stops a rule: a rule by its name, anything else with its kind."""
    if stop.by_kind == "rule":
        return stop.by_name or "not recorded"
    return stop.by_name if stop.by_kind == stop.by_name else f"{stop.by_kind} {stop.by_name}"


def matrix(before: Sequence[Stop], after: Sequence[Stop]) -> tuple[list[str], list[str], Cells]:
    """Return who stops whom: the names of rows and columns, and the counts that are not zero."""
    first, second = ({(stop.rule_name, stopped_by(stop)): stop.count for stop in some} for some in (before, after))
    cells = {key: Counts(first.get(key, 0), second.get(key, 0)) for key in sorted({**first, **second})}
    rules = {stopped_by(stop) for stop in (*before, *after) if stop.by_kind == "rule"}
    columns = sorted({column for _, column in cells}, key=lambda name: (name not in rules, name))
    return sorted({row for row, _ in cells}), columns, cells


def matrix_table(found: Difference) -> Table:
    """Return who stops whom as a table."""
    rows, columns, cells = matrix(found.stops_before, found.stops_after)

    def cell(row: str, column: str) -> str:
        counts = cells.get((row, column))
        if counts is None:
            return ""
        return f"{counts.before:,} → {counts.after:,}" if counts.before != counts.after else f"{counts.after:,}"

    return table_of(
        STOPS,
        ("refused, because of →", *columns),
        ((row, *(cell(row, column) for column in columns)) for row in rows),
        note="how often a match of the rule in the row was refused because of the column, before → after",
    )


def tables(found: Difference) -> list[Table]:
    """Return every table except the examples, in reading order."""
    some = [rules_table(found), reasons_table(found), kinds_table(found)]
    if found.late is not None:
        some.insert(0, late_table(found))
    some += [weeks_table(found), users_table(found), matrix_table(found)]
    return [table for table in some if table.rows]


def difference_text(found: Difference) -> str:
    """Return a difference for a terminal."""
    parts = [manager_sentence(found)]
    parts += [f"New warning: {each}" for each in found.new_warnings]
    parts += [f"No longer a warning: {each}" for each in found.gone_warnings]
    parts += [text_table(table) for table in (*tables(found), *examples_tables(found))]
    return "\n\n".join(masked(part) for part in parts)
