"""The sequences that number rows: they go on where the rows end, as on SQLite, whatever was taken back."""

from sqlalchemy import MetaData

_NUMBERED = """
SELECT quote_ident(c.relname) AS named, quote_ident(a.attname) AS numbered,
pg_get_serial_sequence(quote_ident(c.relname), a.attname) AS counter FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atthasdef
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname IN ({names})
"""

_SET = "SELECT setval(%L, greatest(max(%s), 1), max(%s) IS NOT NULL) FROM %s"


def set_sequences(own: MetaData) -> str:
    """Return the statement that lets the sequences of tables go on behind the rows that stand there.

    Setting one is at once and for everybody, so whoever does it must hold the writer's lock.
    """
    numbered = _NUMBERED.format(names=", ".join(f"'{name}'" for name in own.tables))
    statement = f"format('{_SET}', each.counter, each.numbered, each.numbered, each.named)"
    return (
        f"DO $$ DECLARE each record; BEGIN FOR each IN {numbered} LOOP IF each.counter IS NOT NULL THEN "
        f"EXECUTE {statement}; END IF; END LOOP; END $$"
    )
