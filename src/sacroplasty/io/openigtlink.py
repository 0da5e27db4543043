"""OpenIGTLink version 1 messages for navigation programs: a needle's pose and its planned path.

The protocol does not say whose coordinates a TRANSFORM or TRAJ holds; 3D Slicer takes them as RAS mm, so they are
written as RAS here. Source: OpenIGTLink protocol version 3 specification, messages TRANSFORM and TRAJ.
"""

from __future__ import annotations

import socket
import struct
from functools import cache

import numpy as np
import numpy.typing as npt

from sacroplasty.errors import InputError

_TO_RAS = np.array([-1.0, -1.0, 1.0])
_HEADER = ">H12s20sQQQ"
_POLYNOMIAL = 0x42F0E1EBA9EA3693


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 56
        for _ in range(8):
            crc = ((crc << 1) ^ _POLYNOMIAL if crc >> 63 else crc << 1) & 0xFFFFFFFFFFFFFFFF
        table.append(crc)
    return tuple(table)


def _crc64(body: bytes) -> int:
    crc = 0
    for byte in body:
        crc = (_crc_table()[(crc >> 56) ^ byte] ^ (crc << 8)) & 0xFFFFFFFFFFFFFFFF
    return crc


def _message(kind: str, device: str, body: bytes, time_s: float) -> bytes:
    seconds, fraction = divmod(time_s, 1.0)
    stamp = (int(seconds) << 32) | int(fraction * 2**32)
    return struct.pack(_HEADER, 1, kind.encode(), device.encode()[:20], stamp, len(body), _crc64(body)) + body


def needle_pose_message(
    tip_mm: npt.ArrayLike, direction: npt.ArrayLike, *, device: str = "Needle", time_s: float = 0.0
) -> bytes:
    """A TRANSFORM with the tip as origin and +z along the shaft towards the tip; given in patient LPS mm."""
    tip = np.asarray(tip_mm, dtype=np.float64) * _TO_RAS
    z = np.asarray(direction, dtype=np.float64) * _TO_RAS
    length = float(np.linalg.norm(z))
    if tip.shape != (3,) or z.shape != (3,) or not np.isfinite([*tip, *z]).all() or length < 1e-9:
        raise InputError("A needle's pose needs a finite tip and direction", got=f"{tip.tolist()}, {z.tolist()}")
    z = z / length
    # Any x across the shaft will do for a round needle; the axis least along it keeps the numbers steady.
    across = np.eye(3)[int(np.argmin(np.abs(z)))]
    x = across - (across @ z) * z
    x /= np.linalg.norm(x)
    columns = [x, np.cross(z, x), z, tip]
    return _message("TRANSFORM", device, struct.pack(">12f", *np.concatenate(columns)), time_s)


def trajectory_message(
    paths: list[tuple[str, npt.ArrayLike, npt.ArrayLike, float]], *, device: str = "Plan", time_s: float = 0.0
) -> bytes:
    """A TRAJ of paths (name, entry, target in patient LPS mm, needle's outer diameter in mm)."""
    body = b""
    for number, (name, entry, target, diameter_mm) in enumerate(paths):
        ends = np.concatenate([np.asarray(entry, float) * _TO_RAS, np.asarray(target, float) * _TO_RAS])
        if ends.shape != (6,) or not np.isfinite(ends).all():
            raise InputError("A path needs a finite entry and target", got=name)
        # Type 3: entry and target are both given; the reserved byte follows it.
        names = struct.pack(
            ">64s32sBB4B", name.encode()[:64], b"sacroplasty", 3, 0, 255, 200 - 40 * (number % 5), 0, 255
        )
        body += names + struct.pack(">7f20s", *ends, diameter_mm, b"")
    return _message("TRAJ", device, body, time_s)


def send(messages: list[bytes], *, host: str = "127.0.0.1", port: int = 18944, timeout_s: float = 5.0) -> None:
    """Send messages to an OpenIGTLink server, such as Slicer's; InputError where nobody listens."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as link:
            for message in messages:
                link.sendall(message)
    except OSError as error:
        remedy = "Start the OpenIGTLink server there first"
        raise InputError(f"No OpenIGTLink server answers at {host}:{port}", got=str(error), remedy=remedy) from error
