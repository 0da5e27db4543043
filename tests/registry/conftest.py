"""A registry on SQLite and one on a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from sacroplasty.registry import open_registry
from tests.registry.server import postgres_server, server_programs


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are absent")
    pytest.importorskip("psycopg")
    with postgres_server(programs) as url:
        yield url


@pytest.fixture
def postgres_place(postgres_url: str) -> Iterator[str]:
    """An empty database of its own."""
    name = f"test_{time.monotonic_ns()}"
    admin = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.rpartition("/")[0] + f"/{name}"
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a registry is opened: a file or a URL."""
    if request.param == "sqlite":
        return str(tmp_path / "registry.sqlite")
    return str(request.getfixturevalue("postgres_place"))


@pytest.fixture
def registry(place: str) -> Iterator[Engine]:
    engine = open_registry(place)
    yield engine
    engine.dispose()
