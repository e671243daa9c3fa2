"""The phone page's icon: a battery with a bolt, as SVG and as the PNGs that a phone's home screen asks for (pure).

One drawing in a square of 64: rows of pixels are filled from the edges of its shapes, each row sampled four times and the
pixels at an edge by how much of them is covered. The PNGs have a margin, so that all of it lies in the middle circle that a
mask leaves (radius 0.4 of the side).
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache

SIZES = (192, 512)  # px; what Android and Chromium install with
_GROUND, _INK = (0x0B, 0x53, 0x94), (0xFF, 0xFF, 0xFF)
_SIDE, _MARGIN = 72.0, 4.0  # the square and what is left around the drawing, which is 64 wide
_SAMPLES = 4  # of a row
_BOLT = ((32.0, 23.0), (23.0, 35.0), (30.0, 35.0), (28.0, 44.0), (38.0, 31.0), (31.0, 31.0))
# The case's walls are 4 wide and centred on the SVG's rectangle (12, 20) to (48, 46); the last is the battery's pole.
_BOXES = ((10.0, 18.0, 50.0, 22.0), (10.0, 44.0, 50.0, 48.0), (10.0, 18.0, 14.0, 48.0), (46.0, 18.0, 50.0, 48.0), (50.0, 28.0, 55.0, 38.0))  # fmt: skip
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="12" fill="#0b5394"/>'
    '<rect x="12" y="20" width="36" height="26" rx="4" fill="none" stroke="#fff" stroke-width="4"/>'
    '<rect x="50" y="28" width="5" height="10" fill="#fff"/><path d="M32 23l-9 12h7l-2 9 10-13h-7z" fill="#fff"/></svg>'
)


@cache
def png(side_px: int) -> bytes:
    """Return the icon as a PNG of this width and height: eight bits of red, green and blue."""
    rows = b"".join(b"\0" + _row(number, side_px) for number in range(side_px))
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _row(number: int, side_px: int) -> bytes:
    scale = side_px / _SIDE
    covered = [0.0] * side_px
    for sample in range(_SAMPLES):
        y = (number + (sample + 0.5) / _SAMPLES) / scale - _MARGIN
        for first, last in _merged(_spans(y)):
            _fill(covered, (first + _MARGIN) * scale, (last + _MARGIN) * scale)
    return b"".join(_colour(one / _SAMPLES) for one in covered)


def _spans(y: float) -> Iterator[tuple[float, float]]:
    """Yield where a line across the drawing is inside a shape."""
    for left, top, right, bottom in _BOXES:
        if top <= y < bottom:
            yield left, right
    yield from _polygon_spans(_BOLT, y)


def _polygon_spans(points: Sequence[tuple[float, float]], y: float) -> Iterator[tuple[float, float]]:
    crossings = sorted(
        x1 + (y - y1) * (x2 - x1) / (y2 - y1)
        for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True)
        if (y1 <= y) != (y2 <= y)
    )
    yield from zip(crossings[::2], crossings[1::2], strict=True)


def _merged(spans: Iterator[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def _fill(covered: list[float], first: float, last: float) -> None:
    """Add to each pixel the share of it that lies between two places, px."""
    for pixel in range(int(first), min(int(last) + 1, len(covered))):
        covered[pixel] += max(min(last, pixel + 1) - max(first, pixel), 0.0)


@cache
def _colour(share: float) -> bytes:
    return bytes(round(low + (high - low) * share) for low, high in zip(_GROUND, _INK, strict=True))
