"""Pictures and videos of a few bytes that declare gigabytes, and formats that start programs."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.image_files import picture_size
from dense.data.formats.png_ids import read_id_map, read_label_map
from dense.data.mappers.image_reading import read_image
from dense.errors import DataError, DenseError, VideoError
from dense.video import open_frames, read_picture
from dense.video.pictures import over_white

READERS = [read_picture, read_image, read_id_map, read_label_map, picture_size]


def _png(width, height):
    """A PNG whose header says any size; its pixels are not there."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _jpeg(width, height):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def _bmp(width, height):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "BMP")
    content = bytearray(stream.getvalue())
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


BOMBS = {"a.png": _png(12000, 12000), "b.png": _png(2**30, 2**30), "c.jpg": _jpeg(65500, 65500), "d.bmp": _bmp(20000, 20000)}


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", BOMBS)
def test_picture__declares_too_many_pixels__refused_at_once(tmp_path, frugal, read, name):
    """Catches a reader without the limit: 144 megapixels are below Pillow's own."""
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    with frugal(100), pytest.raises(DataError, match=rf"{name}: .*megapixels"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_picture__limit_raised__is_read(tmp_path, monkeypatch, read):
    """Catches a limit that cannot be raised, or Pillow's own standing in the way."""
    Image.fromarray(np.zeros((20, 30), np.uint8)).convert("RGB" if read is read_id_map else "L").save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", "0.0005")
    with pytest.raises(DataError, match="DENSE_MAX_MEGAPIXELS"):
        read(tmp_path / "x.png")
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", "500")
    read(tmp_path / "x.png")
    assert Image.MAX_IMAGE_PIXELS == 500_000_000


@pytest.mark.parametrize("read", READERS)
def test_picture__postscript_called_png__refused(tmp_path, read):
    """Catches Pillow's EPS reader, which starts Ghostscript on a stranger's program."""
    path = tmp_path / "x.png"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%touch PWNED) (w) file\nshowpage\n"
    )
    with Image.open(path) as image:
        assert image.format == "EPS"  # Pillow alone would take it
    with pytest.raises(DataError, match=r"x\.png"):
        read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "folder"])
def test_picture__broken__every_reader_says_so_in_one_line(tmp_path, read, damage):
    """Catches a reader with a list of exceptions of its own that is shorter than the others'."""
    path = tmp_path / "x.png"
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": _png(9, 9)[:20], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"x\.png"):
        read(path)


def test_video__declares_too_many_pixels__refused_at_once(tmp_path, frugal):
    """Catches frames that are allotted before anyone looks at their size."""
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    stream = io.BytesIO()
    frames = [Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (0, 90)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    content = bytearray(stream.getvalue())
    content[6:10] = struct.pack("<HH", 65535, 65535)
    (tmp_path / "b.gif").write_bytes(content)
    for name in ("a.y4m", "b.gif"):
        with frugal(100), pytest.raises(VideoError, match=name), open_frames(tmp_path / name) as source:
            next(iter(source))


def test_video__one_past_the_limit__names_it(tmp_path, monkeypatch):
    """Catches a limit of the video reader that is another than the pictures'."""
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W100 H101 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(100 * 101 + 2 * 50 * 51))
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", "0.01")
    with pytest.raises(DenseError, match=r"a\.y4m"), open_frames(tmp_path / "a.y4m") as source:
        next(iter(source))
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", "0.0101")
    with open_frames(tmp_path / "a.y4m") as source:
        assert next(iter(source)).image.shape == (101, 100, 3)


def test_over_white__large_picture__little_memory_beside_it(frugal):
    """Catches intermediate numbers ten times the size of the picture; rows beyond the first block must be right too."""
    rgba = np.full((4000, 3000, 4), 200, np.uint8)
    rgba[:, :, 3] = np.arange(4000)[:, None] % 256
    with frugal(80):
        out = over_white(rgba)
    expected = (200 * rgba[:, 0, 3].astype(int) + 255 * (255 - rgba[:, 0, 3].astype(int)) + 127) // 255
    assert (out[:, 5, 1] == expected).all()
