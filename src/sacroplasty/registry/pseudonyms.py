"""Who a pseudonym is: one file apart from the registry, readable by its owner alone.

The registry never holds an identity, this file never holds a fact about the disease. Pseudonyms are random, not derived
from the person, so that nobody without this file can compute them. It also keeps one random key per receiver of shared
data.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sacroplasty.errors import CaseError, InputError

# Without letters that are mistaken for digits when a pseudonym is read out on the telephone.
_SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 8
_WAIT_FOR_LOCK_S = 30
_TABLES = (
    "CREATE TABLE IF NOT EXISTS identity (pseudonym TEXT PRIMARY KEY, identity TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS receiver (name TEXT PRIMARY KEY, secret BLOB NOT NULL)",
)


class PseudonymKeys:
    """The key file at a path, made where it does not exist; InputError where others could read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            _require_private(path)
        with self._changed() as connection:
            for words in _TABLES:
                connection.execute(words)

    @contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the file alone from its start, so that two windows never give two pseudonyms."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_FOR_LOCK_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise CaseError("The key file cannot be used", got=f"{self.path.name}: {error}",
                            remedy="Restore it from a backup") from error  # fmt: skip

    def pseudonym_of(self, identity: str) -> str:
        """The pseudonym of a person, made at the first call; `identity` is any text that is the person's alone."""
        wanted = " ".join(identity.split())
        if not wanted:
            raise InputError("An identity must not be empty", remedy="Give name and hospital number")
        with self._changed() as connection:
            found = connection.execute("SELECT pseudonym FROM identity WHERE identity = ?", (wanted,)).fetchone()
            if found:
                return str(found[0])
            pseudonym = f"P-{''.join(secrets.choice(_SIGNS) for _ in range(_LENGTH))}"
            connection.execute("INSERT INTO identity VALUES (?, ?)", (pseudonym, wanted))
            return pseudonym

    def identity_of(self, pseudonym: str) -> str:
        """Who a pseudonym is; InputError where the file does not know it."""
        with self._changed() as connection:
            found = connection.execute("SELECT identity FROM identity WHERE pseudonym = ?", (pseudonym,)).fetchone()
        if found is None:
            raise InputError("The key file does not know this pseudonym", got=pseudonym)
        return str(found[0])

    def identities(self) -> tuple[str, ...]:
        """Everybody in the file, so that a draft can be searched for their names."""
        with self._changed() as connection:
            return tuple(str(row[0]) for row in connection.execute("SELECT identity FROM identity ORDER BY identity"))

    def receiver_key(self, receiver: str) -> bytes:
        """The key under which records are shared with one receiver, made at the first call."""
        if not receiver.strip():
            raise InputError("A receiver needs a name", remedy="Name who gets the records")
        with self._changed() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO receiver VALUES (?, ?)", (receiver.strip(), secrets.token_bytes(32))
            )
            found = connection.execute("SELECT secret FROM receiver WHERE name = ?", (receiver.strip(),)).fetchone()
        return bytes(found[0])

    def forget(self, pseudonym: str) -> None:
        """Cut the tie between a pseudonym and its person for good; InputError where there is none."""
        self.identity_of(pseudonym)
        with self._changed() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("DELETE FROM identity WHERE pseudonym = ?", (pseudonym,))


def _require_private(path: Path) -> None:
    """Refuse a key file that the group or the world may read; Windows keeps such rights elsewhere."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError("Others can read the key file", got=f"{path.name} with mode {mode:o}",
                         remedy="Restrict it to its owner: chmod 600")  # fmt: skip
