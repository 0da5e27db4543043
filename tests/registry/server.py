"""A PostgreSQL server of our own, started for a test or a benchmark and thrown away after it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def server_programs() -> Path | None:
    """The folder with initdb: on the path, or where Debian puts it."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _as_server_user(words: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["su", "postgres", "-c", words] if os.geteuid() == 0 else ["sh", "-c", words]


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """The URL of an empty database on a fresh server."""
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
