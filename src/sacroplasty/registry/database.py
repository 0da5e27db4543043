"""Opening the registry: SQLite by default, PostgreSQL by URL, the same behaviour on both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from sacroplasty.errors import CaseError, InputError
from sacroplasty.registry.migration import migrate

# Long enough for eight writers that each hold the lock for a few milliseconds.
_WAIT_FOR_LOCK_S = 30


def _url(place: str | Path) -> str:
    words = str(place)
    if "://" not in words:
        path = Path(words).expanduser()
        if not path.parent.is_dir():
            raise InputError("The registry's folder does not exist", got=str(path.parent), remedy="Make it first")
        return f"sqlite:///{path}"
    return words.replace("postgresql://", "postgresql+psycopg://", 1)


def open_registry(place: str | Path) -> Engine:
    """The registry at a file path or database URL, brought to the newest schema.

    SQLite runs with a write-ahead log, full synchronisation, foreign keys and immediate write locks. InputError for a
    URL that cannot be used, CaseError where an existing file is damaged.
    """
    url = _url(place)
    try:
        engine = create_engine(url, isolation_level="SERIALIZABLE" if url.startswith("sqlite") else "READ COMMITTED")
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(
            "No driver for this database",
            got=url.partition(":")[0],
            remedy="Install sacroplasty[postgres], or give a file name for SQLite",
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite" and connection.scalar(text("PRAGMA integrity_check")) != "ok":
                raise CaseError("The registry is damaged", got=str(place), remedy="Restore it from a backup")
        migrate(engine)
    except DBAPIError as error:
        engine.dispose()
        raise CaseError("The registry cannot be opened", got=str(error.orig).strip()[:200]) from error
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_LOCK_S * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A transaction that reads first and writes later would otherwise fail when another wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def edited(engine: Engine) -> Iterator[Session]:
    """A session that commits at its end; CaseError where another writer changed a row in between."""
    with Session(engine, expire_on_commit=False) as session:
        try:
            yield session
            session.commit()
        except StaleDataError as error:
            session.rollback()
            raise CaseError(
                "The record was changed by another window", got=str(error), remedy="Reload it and repeat the edit"
            ) from error


def backed_up(engine: Engine, target: Path) -> Path:
    """A consistent copy of a SQLite registry that is in use; InputError for other databases or an existing target."""
    if engine.dialect.name != "sqlite":
        raise InputError("Only SQLite registries are copied here", got=engine.dialect.name, remedy="Use pg_dump")
    if target.exists():
        raise InputError("The backup's file exists already", got=str(target), remedy="Give another name")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        if raw.in_transaction:
            raw.rollback()
        raw.execute("VACUUM INTO ?", (str(target),))
    return target
