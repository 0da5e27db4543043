"""What could name a person in a draft: dates, long numbers, addresses, and names from the key file."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PATTERNS = (
    ("a date", re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b")),
    ("a date", re.compile(r"\b\d{1,2}\.? (?:January|February|March|April|May|June|July|August|September|October|"
                          r"November|December)\b", re.I)),
    ("an e-mail address", re.compile(r"[\w.+-]+@[\w-]+\.\w+")),
    ("a web address", re.compile(r"https?://\S+")),
    ("a long number", re.compile(r"\b\d{6,}\b")),
    ("a telephone number", re.compile(r"\+\d[\d \-/]{6,}\d")),
    ("a name with a title", re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau)\.? [A-Z]\w+")),
)  # fmt: skip
# Words of an identity that are too short or too common to search for.
_SHORTEST_WORD = 3


def identifiers_in(text: str, identities: Iterable[str] = (), allowed: Iterable[str] = ()) -> tuple[str, ...]:
    """What in a text could name a person, each as `kind: what was found`.

    `identities` are whole identities whose words are searched for; `allowed` are texts that may stand (an ethics
    statement with its number).
    """
    for words in allowed:
        text = text.replace(words, "")
    found = [f"{kind}: {match.group(0)}" for kind, pattern in _PATTERNS for match in pattern.finditer(text)]
    searched = {word for one in identities for word in re.findall(r"\w+", one) if len(word) >= _SHORTEST_WORD}
    present = {word.casefold() for word in re.findall(r"\w+", text)}
    found += [f"a word of an identity: {word}" for word in sorted(searched) if word.casefold() in present]
    return tuple(dict.fromkeys(found))
