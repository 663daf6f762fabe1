"""Makes the sequences that number rows continue where the rows end, as on SQLite, whatever was rolled back."""

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
    """Return the statement that moves sequences that lag behind the rows forward, and never back.

    No run that writes beside others used a lagging one: each of them raises it first.
    """
    return _for_each(own, f"format('{_RAISE}', each.counter, each.numbered, each.named, each.counter)")


def set_sequences(own: MetaData) -> str:
    """Return the statement that makes the sequences of tables continue after the stored rows.

    Setting one takes effect immediately and for everybody, so the caller must hold the writer's lock.
    """
    return _for_each(own, f"format('{_SET}', each.counter, each.numbered, each.numbered, each.named)")


def _for_each(own: MetaData, statement: str) -> str:
    numbered = _NUMBERED.format(names=", ".join(f"'{name}'" for name in own.tables))
    return (
        f"DO $$ DECLARE each record; BEGIN FOR each IN {numbered} LOOP IF each.counter IS NOT NULL THEN "
        f"EXECUTE {statement}; END IF; END LOOP; END $$"
    )
