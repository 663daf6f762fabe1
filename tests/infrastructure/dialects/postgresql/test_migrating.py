from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from src.marketing_messaging_service.infrastructure.database import Base, create_database_engine, read_transaction
from src.marketing_messaging_service.infrastructure.migrations import alembic_config, revisions_after, upgrade_to_head
from src.marketing_messaging_service.views import VIEWS
from tests.postgresql import Server


def test_the_migrations_make_what_the_models_declare(postgresql: Server, postgresql_template: str) -> None:
    url = postgresql.new_database(postgresql_template)
    with create_database_engine(url).connect() as connection:
        options = {"compare_type": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    # Comments on tables and columns are SQLAlchemy's for this database; the dictionary in the database says the same.
    assert [each for each in differences if "comment" not in str(each)[:60]] == []


def test_each_revision_goes_down_and_up_again(postgresql: Server) -> None:
    url = postgresql.new_database()
    config = alembic_config(url)
    revisions = revisions_after(config, None)
    assert upgrade_to_head(url) == revisions
    for revision in [*revisions[-2::-1], "base"]:
        command.downgrade(config, revision)
    for revision in revisions:
        command.upgrade(config, revision)
    assert upgrade_to_head(url) == []


def test_every_view_has_the_columns_that_are_declared(postgresql: Server, postgresql_template: str) -> None:
    url = postgresql.new_database(postgresql_template)
    with read_transaction(create_database_engine(url)) as connection:
        for view in VIEWS:
            found = connection.exec_driver_sql(f"SELECT * FROM {view.name}")
            assert list(found.keys()) == [column.name for column in view.columns]
