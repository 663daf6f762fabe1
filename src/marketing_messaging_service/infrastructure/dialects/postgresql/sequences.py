"""The sequences that number rows: they go on where the rows end, as on SQLite, whatever was taken back."""

from sqlalchemy import MetaData

_NUMBERED = """
SELECT quote_ident(c.relname) AS named, quote_ident(a.attname) AS numbered,
pg_get_serial_sequence(quote_ident(c.relname), a.attname) AS counter FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atthasdef
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname IN ({names})
"""

_SET = "SELECT setval(%L, greatest(max(%s), 1), max(%s) IS NOT NULL) FROM %s"


_RAISE = (
    "SELECT setval(%L, found.last, true) FROM (SELECT max(%s) AS last FROM %s) AS found, %s AS counter WHERE "
    "found.last > counter.last_value OR (found.last = counter.last_value AND NOT counter.is_called)"
)


def raise_sequences(own: MetaData) -> str:
    """Return the statement that lets sequences that lag behind the rows go on behind them, and never back.

    One that lags was used by nobody who writes beside others, each of whom raises it first.
    """
    return _for_each(own, f"format('{_RAISE}', each.counter, each.numbered, each.named, each.counter)")


def set_sequences(own: MetaData) -> str:
    """Return the statement that lets the sequences of tables go on behind the rows that stand there.

    Setting one is at once and for everybody, so whoever does it must hold the writer's lock.
    """
    return _for_each(own, f"format('{_SET}', each.counter, each.numbered, each.numbered, each.named)")


def _for_each(own: MetaData, statement: str) -> str:
    numbered = _NUMBERED.format(names=", ".join(f"'{name}'" for name in own.tables))
    return (
        f"DO $$ DECLARE each record; BEGIN FOR each IN {numbered} LOOP IF each.counter IS NOT NULL THEN "
        f"EXECUTE {statement}; END IF; END LOOP; END $$"
    )
