"""Bringing a registry to the newest schema, from any earlier one."""

from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from sacroplasty.errors import CaseError
from sacroplasty.registry.tables import Table


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "sacroplasty.registry:migrations")
    config.attributes["connection"] = connection
    return config


def migrate(engine: Engine) -> str:
    """Apply every migration that is missing and return the schema's revision.

    CaseError where the registry was made by a newer version, whose revision this program does not know.
    """
    scripts = ScriptDirectory.from_config(_config())
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two programs that open a new database at once would both make its tables.
            connection.execute(text("SELECT pg_advisory_xact_lock(5473829)"))
        before = MigrationContext.configure(connection).get_current_revision()
        if before is not None and before not in {script.revision for script in scripts.walk_revisions()}:
            raise CaseError(
                "The registry was written by a newer version", got=f"schema {before}", remedy="Update sacroplasty"
            )
        if before != scripts.get_current_head():
            command.upgrade(_config(connection), "head")
        return str(scripts.get_current_head())


def drift(engine: Engine) -> list[object]:
    """Differences between the tables as coded and the database; empty where the migrations are complete."""
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Table.metadata))
