"""The icon that a phone's home screen takes: a PNG of the size that it is asked for, drawn where a mask leaves it."""

import struct
import zlib

import pytest

from ui.api.phone_icon import SIZES, png

GROUND, INK = (0x0B, 0x53, 0x94), (0xFF, 0xFF, 0xFF)


def pixels(data: bytes) -> tuple[int, list[bytes]]:
    """Return a PNG's width and its rows without their filter byte; every chunk's checksum has to hold."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, width = 8, b"", 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack(">IIBB", body[:10])
            assert (height, depth, colours) == (width, 8, 2)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    plain, size = zlib.decompress(packed), 3 * width + 1
    rows = [plain[start : start + size] for start in range(0, len(plain), size)]
    assert len(rows) == width
    assert {row[0] for row in rows} == {0}
    return width, [row[1:] for row in rows]


@pytest.mark.parametrize("side", SIZES)
def test_it_is_a_picture_of_its_size_with_everything_inside_the_mask(side: int) -> None:
    width, rows = pixels(png(side))
    assert width == side

    def at(x: float, y: float) -> tuple[int, ...]:
        column = int((x + 4) * side / 72)
        return tuple(rows[int((y + 4) * side / 72)][3 * column : 3 * column + 3])

    # In units of the drawing, which is 64 wide with a margin of 4: the case's wall, the pole, the bolt's middle, the gap beside the bolt, the corner.
    assert [at(12, 33), at(53, 33), at(31, 33), at(18, 33), at(1, 1)] == [INK, INK, INK, GROUND, GROUND]
    outside = [
        (x, y)
        for y in range(0, side, 4)
        for x in range(0, side, 4)
        if (x - side / 2) ** 2 + (y - side / 2) ** 2 > (0.4 * side) ** 2
    ]
    assert {tuple(rows[y][3 * x : 3 * x + 3]) for x, y in outside} == {GROUND}
