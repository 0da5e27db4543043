"""Running the workstation: on this machine alone, its address printed once with the token that opens it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sacroplasty import NOT_FOR_CLINICAL_USE
from sacroplasty.errors import InputError
from sacroplasty.workstation.guard import Session
from sacroplasty.workstation.station import Setup

LOOPBACK = "127.0.0.1"


def bound(port: int) -> socket.socket:
    """A socket on the loopback interface; InputError where the port is taken. Port 0 takes a free one."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((LOOPBACK, port))
    except OSError as error:
        one.close()
        raise InputError("The port cannot be used", got=f"{port}: {error.strerror}", remedy="Give --port 0") from error
    return one


def address_of(session: Session, port: int) -> str:
    """The address that opens the session once."""
    return f"http://{LOOPBACK}:{port}/?token={session.invitation}"


def serve(
    cases_dir: Path, *, port: int = 0, folders: dict[str, Path] | None = None, workers: int | None = None,
    read_only: bool = False,
) -> None:  # fmt: skip
    """Serve a folder of cases until interrupted; the folder is made where there is none, or only shown."""
    import uvicorn

    from sacroplasty.workstation.app import app

    _require_folder(cases_dir, read_only)
    with bound(port) as one:
        session, number = Session(), int(one.getsockname()[1])
        guarded = app(
            cases_dir, session=session, port=number, setup=Setup(folders or {}, read_only),
            workers=workers or max(1, (os.cpu_count() or 2) // 2),
        )  # fmt: skip
        print(f"Open {address_of(session, number)}", flush=True)  # noqa: T201
        print(f"The address works once. Ctrl+C ends the server. {NOT_FOR_CLINICAL_USE}", flush=True)  # noqa: T201
        config = uvicorn.Config(guarded, log_level="warning", access_log=False, server_header=False, lifespan="on",
                                timeout_graceful_shutdown=3)  # fmt: skip
        uvicorn.Server(config).run(sockets=[one])


def _require_folder(cases_dir: Path, read_only: bool) -> None:
    """A folder that may be read, and written unless it is only shown."""
    if read_only and not cases_dir.is_dir():
        raise InputError("There is no such folder of cases", got=str(cases_dir), remedy="Give one that exists")
    if read_only:
        return
    cases_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(cases_dir, os.W_OK):
        raise InputError("The folder of cases cannot be written", got=str(cases_dir), remedy="Add --read-only")
