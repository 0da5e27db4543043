"""A registry on SQLite and one on a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from sacroplasty.registry import open_registry


def _programs() -> Path | None:
    """The folder with initdb: on the path, or where Debian puts it."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _as_server_user(words: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["su", "postgres", "-c", words] if os.geteuid() == 0 else ["sh", "-c", words]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are absent")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="sacroplasty-postgres-"))
    folder.chmod(0o777)
    data = folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    init = f"{programs}/initdb -A trust -U tester -D {data}"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    start = f"{programs}/pg_ctl -w -D {data} -l {folder}/log -o '{options}' start"
    for words in (init, start):
        subprocess.run(_as_server_user(words), check=True, capture_output=True)
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(_as_server_user(f"{programs}/pg_ctl -D {data} -m immediate stop"), capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


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
