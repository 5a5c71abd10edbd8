"""Pictures with fewer shades between a letter and what is behind it: half as large, and alike to the eye."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256
TRUE_COLOUR = struct.pack(">BB", 8, 2)
BY_PALETTE = bytes((8, 3, 0, 0, 0))

Colour = tuple[int, int, int]


def smaller(picture: bytes) -> bytes:
    """One of a browser's, in its most frequent colours: each of the others becomes the nearest of these."""
    parts = list(_parts(picture))
    header = next(content for kind, content in parts if kind == b"IHDR")
    assert header[8:10] == TRUE_COLOUR
    width, height = struct.unpack(">II", header[:8])
    packed = zlib.decompress(b"".join(content for kind, content in parts if kind == b"IDAT"))
    rows = [
        list(zip(row[::3], row[1::3], row[2::3], strict=True)) for row in _unfiltered(packed, width * 3, height)
    ]
    frequent = Counter(colour for row in rows for colour in row).most_common()
    palette = [colour for colour, _ in frequent[:COLOURS]]
    places = {colour: _nearest(palette, colour) for colour, _ in frequent}
    places_of_rows = b"".join(b"\0" + bytes(map(places.__getitem__, row)) for row in rows)
    return SIGNATURE + b"".join(
        _part(kind, content)
        for kind, content in (
            (b"IHDR", header[:8] + BY_PALETTE),
            (b"PLTE", b"".join(map(bytes, palette))),
            (b"IDAT", zlib.compress(places_of_rows, 9)),
            (b"IEND", b""),
        )
    )


def _parts(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        yield picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        at += 12 + length


def _part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _unfiltered(packed: bytes, length: int, height: int) -> Iterator[bytes]:
    """Rows are written as what differs from the pixel to the left (1), above (2), from the mean of both (3) or
    from the nearest of three (4)."""
    above = bytes(length + 3)
    for start in range(0, height * (length + 1), length + 1):
        way, row = packed[start], bytearray(3) + packed[start + 1 : start + 1 + length]
        for at in range(3, length + 3) if way else ():
            left, up, corner = row[at - 3], above[at], above[at - 3]
            row[at] = (row[at] + (0, left, up, (left + up) // 2, _paeth(left, up, corner))[way]) & 255
        above = bytes(row)
        yield above[3:]


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda each: abs(guess - each))


def _nearest(palette: list[Colour], colour: Colour) -> int:
    def distance(place: int) -> int:
        return sum(abs(a - b) for a, b in zip(palette[place], colour, strict=True))

    return min(range(len(palette)), key=distance)
