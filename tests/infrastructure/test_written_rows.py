"""What was written but is not stored becomes a sentence that names the trigger, and how to drop it."""

import pytest
from sqlalchemy import Engine, insert, text, update

from src.marketing_messaging_service.errors import LostRowsError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.infrastructure.written_rows import insert_one, refuse_lost_rows, update_all
from src.marketing_messaging_service.models import Ruleset

RULES = {"content_hash": "h", "yaml_text": "rules: []"}


def add_trigger(engine: Engine, name: str, when: str, then: str = "SELECT RAISE(IGNORE)") -> None:
    with write_transaction(engine) as connection:
        connection.execute(text(f"CREATE TRIGGER {name} {when} BEGIN {then}; END"))


def test_a_stored_row_gives_its_id(engine: Engine):
    with write_transaction(engine) as connection:
        first, second = (insert_one(connection, insert(Ruleset).values(RULES | {"content_hash": h})) for h in "ab")
    assert (first, second) == (1, 2)


def test_a_row_that_was_kept_out_is_a_sentence_that_names_the_trigger(engine: Engine):
    add_trigger(engine, "quiet", "BEFORE INSERT ON rulesets")
    with pytest.raises(LostRowsError) as caught, write_transaction(engine) as connection:
        insert_one(connection, insert(Ruleset).values(RULES))
    assert str(caught.value) == (
        "1 row was written to the table rulesets, and 0 of them are there. The trigger quiet on that table is not part "
        "of "
        'this project: change it so that every row passes unchanged, or drop it (DROP TRIGGER "quiet"), then run '
        "again. Nothing of this step was kept."
    )


def test_a_change_that_was_kept_out_names_every_trigger_as_it_has_to_be_written(engine: Engine):
    with write_transaction(engine) as connection:
        insert_one(connection, insert(Ruleset).values(RULES))
    add_trigger(engine, '"a ""b"""', "BEFORE UPDATE ON Rulesets")
    add_trigger(engine, "quiet", "BEFORE UPDATE ON rulesets")
    with pytest.raises(LostRowsError) as caught, write_transaction(engine) as connection:
        update_all(connection, update(Ruleset).values(yaml_text=""))
    assert 'The triggers a "b", quiet on that table are not part of this project' in str(caught.value)
    assert '(DROP TRIGGER "a ""b"""; DROP TRIGGER "quiet")' in str(caught.value)


def test_a_loss_without_a_trigger_leads_to_the_self_check(engine: Engine):
    with pytest.raises(LostRowsError) as caught, write_transaction(engine) as connection:
        refuse_lost_rows(connection, {"loads": (1, 1), "events": (2, 1)})
    assert str(caught.value) == (
        "2 rows were written to the table events, and 1 of them is there. Run the self-check, which says what is "
        "wrong with the file; if it finds nothing, please report it. Nothing of this step was kept."
    )
