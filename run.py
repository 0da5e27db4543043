#!/usr/bin/env python3
"""Run sacroplasty from a fresh checkout with nothing but Python 3.11+ and pip.

    python3 run.py demo              plan the embedded case and print where the report is (--case zhang-1, zhang-2, yeo)
    python3 run.py test              run every check and test
    python3 run.py VERB ...          any verb of the `sacroplasty` command, for example `python3 run.py --help`

The first call makes the folder .venv beside this file and installs pinned versions into it.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
UV = "uv>=0.5,<1"


def lock_for(task: str) -> Path:
    """The pins a task needs: all extras for the tests, else the core."""
    return HERE / ("requirements-dev.lock" if task in {"test", "check", "docs"} else "requirements.lock")


def fingerprint(lock: Path) -> str:
    """Changes whenever the environment has to be installed again."""
    parts = (lock.read_bytes(), (HERE / "pyproject.toml").read_bytes(), sys.version.encode(), str(HERE).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_installed(lock: Path) -> bool:
    """This lock, or the larger one that holds it, is already in the environment."""
    locks = {lock, HERE / "requirements-dev.lock"}
    return PYTHON.exists() and any(
        mark.exists() and mark.read_text() == fingerprint(one)
        for one in locks
        for mark in [ENVIRONMENT / f"installed-{one.stem}"]
    )


def install(lock: Path) -> None:
    """Make .venv and install the pins, with uv where it can be had because it is about nine times faster than pip."""
    print(f"Setting up .venv from {lock.name} (once; one to three minutes) ...", flush=True)
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*pip, UV], capture_output=True).returncode == 0:
        # As pip does: the first run need not compile every module it imports.
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(PYTHON)]
        if subprocess.run([*uv, "-r", str(lock)]).returncode != 0:
            print("uv could not install the pins; trying pip.", flush=True)
            subprocess.run([*pip, "-r", str(lock)], check=True)
    else:
        subprocess.run([*pip, "-r", str(lock)], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(HERE)], check=True)
    # Else every program that the tests start compiles them again where Python may not write bytecode by itself.
    subprocess.run([str(PYTHON), "-m", "compileall", "-q", str(HERE / "src")])
    (ENVIRONMENT / f"installed-{lock.stem}").write_text(fingerprint(lock))


def main(arguments: list[str]) -> int:
    """Set up the environment where needed, then run the task in it; the exit code is the task's."""
    if sys.version_info < (3, 11):
        print(f"sacroplasty needs Python 3.11 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 2
    task = arguments[0] if arguments else "--help"
    lock = lock_for(task)
    if not is_installed(lock):
        try:
            install(lock)
        except subprocess.CalledProcessError as error:
            print(f"The installation failed: {' '.join(error.cmd[:6])} ... Check the network.", file=sys.stderr)
            return 2
    if task == "test":
        workers = str(min(os.cpu_count() or 1, 4))
        command = [str(PYTHON), "-m", "pytest", "-n", workers, "--dist", "loadfile", *arguments[1:]]
    else:
        command = [str(PYTHON), "-m", "sacroplasty", *(arguments or ["--help"])]
    return subprocess.run(command, cwd=HERE if task == "test" else None).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
