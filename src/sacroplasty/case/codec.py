"""Frozen values to JSON and back, by their type hints; images and large arrays go to side files.

The only JSON of the package. A number that is not finite never leaves: NaN ("not measurable") becomes null and comes
back as NaN, infinity is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np

from sacroplasty.errors import CaseError
from sacroplasty.space import LabelMap, Mask, Volume

Image = Volume | Mask | LabelMap
Heavy = Image | np.ndarray[Any, Any]
ImageSink = Callable[[str, Heavy], str]
ImageSource = Callable[[str, type], Heavy]

IMAGE_TYPES = (Volume, Mask, LabelMap)
# An array with more numbers than this is unreadable as text and goes to a side file.
LARGEST_ARRAY_AS_TEXT = 2048


def to_json(data: object) -> str:
    """Text, keys in the order of their making, ending with a newline; refuses numbers that are not finite."""
    try:
        return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise CaseError("A result holds a number that is not finite", got=str(error)) from error


def from_json(text: str, what: str) -> Any:
    """The parsed text; CaseError where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{what} is not readable", got=str(error), remedy="Restore it from a backup") from error


def _no_images(name: str, image: Heavy) -> str:
    raise CaseError("An image cannot be written into JSON", got=name)


def encode(value: object, sink: ImageSink = _no_images, path: str = "") -> Any:
    """JSON-ready data of a value; each image is handed to `sink(path, image)`, which returns its file name."""
    if isinstance(value, IMAGE_TYPES) or (isinstance(value, np.ndarray) and value.size > LARGEST_ARRAY_AS_TEXT):
        return {"image": sink(path or "image", value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: encode(getattr(value, f.name), sink, f"{path}_{f.name}".strip("_")) for f in fields}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_key(k): encode(v, sink, f"{path}_{_key(k)}".strip("_")) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [encode(item, sink, f"{path}_{n}") for n, item in enumerate(items)]
    if isinstance(value, np.ndarray):
        return encode(value.tolist(), sink, path)
    if isinstance(value, np.generic):
        return encode(value.item(), sink, path)
    if isinstance(value, float):
        return _finite(value)
    if value is None or isinstance(value, str | int | bool):
        return value
    raise CaseError("A value of this type cannot be stored", got=f"{type(value).__name__} at {path}")


def _finite(number: float) -> float | None:
    if math.isinf(number):
        raise CaseError("A result holds a number that is not finite", got=str(number))
    return None if math.isnan(number) else number


def _key(key: object) -> str:
    return str(key.value if isinstance(key, Enum) else key)


def decode(kind: Any, data: Any, source: ImageSource | None = None) -> Any:
    """The value of type `kind` that `encode` wrote; unknown fields are ignored, so that newer cases still open.

    CaseError where the data do not fit the type: a field missing, of another kind, or not finite.
    """
    try:
        return _decoded(kind, data, source)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise CaseError(
            "A stored value does not fit what this version expects",
            got=f"{name}: {error}"[:200],
            remedy="Run the stage again, or restore the case from a backup",
        ) from error


def _decoded(kind: Any, data: Any, source: ImageSource | None) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return data
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, data, source)
    if data is None:
        if dataclasses.is_dataclass(kind):
            raise ValueError(f"nothing where a {getattr(kind, '__name__', kind)} is expected")
        return math.nan if kind is float else None
    if origin is tuple:
        return _decode_tuple(arguments, data, source)
    if origin is list:
        return [_decoded(arguments[0], item, source) for item in data]
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {_decoded(arguments[0], _int_key(arguments[0], k), source): _decoded(arguments[1], v, source)
                for k, v in data.items()}  # fmt: skip
    if origin is np.ndarray or kind is np.ndarray:
        return _heavy(data, np.ndarray, source) if isinstance(data, dict) else np.asarray(data, dtype=np.float64)
    if isinstance(kind, type):
        return _decode_class(kind, data, source)
    raise CaseError("A stored field has a type this version cannot read", got=str(kind))


def _int_key(kind: Any, key: str) -> Any:
    return int(key) if kind is int or (isinstance(kind, type) and issubclass(kind, Enum) and key.isdigit()) else key


def _decode_union(arguments: tuple[Any, ...], data: Any, source: ImageSource | None) -> Any:
    if data is None and type(None) in arguments:
        return None
    kinds = [kind for kind in arguments if kind is not type(None)]
    return _decoded(kinds[0], data, source) if len(kinds) == 1 else data


def _decode_tuple(arguments: tuple[Any, ...], data: Any, source: ImageSource | None) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decoded(arguments[0], item, source) for item in data)
    return tuple(_decoded(kind, item, source) for kind, item in zip(arguments, data, strict=True))


def _decode_class(kind: type, data: Any, source: ImageSource | None) -> Any:
    if issubclass(kind, IMAGE_TYPES):
        return _heavy(data, kind, source)
    if issubclass(kind, Enum):
        return kind(data)
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        known = {f.name for f in dataclasses.fields(kind) if f.init}
        return kind(**{k: _decoded(hints[k], v, source) for k, v in data.items() if k in known})
    if kind is float:
        number = float(data)
        if not math.isfinite(number):
            raise ValueError(f"{data} is not finite")
        return number
    if kind is int and int(data) != data:
        raise ValueError(f"{data!r} is not a whole number")
    if kind in (int, str, bool):
        return kind(data)
    raise CaseError("A stored field has a type this version cannot read", got=kind.__name__)


def _heavy(data: Any, kind: type, source: ImageSource | None) -> Heavy:
    if source is None or not isinstance(data, dict) or not isinstance(data.get("image"), str):
        raise CaseError("A stored image has no file", got=str(data)[:80])
    return source(data["image"], kind)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
