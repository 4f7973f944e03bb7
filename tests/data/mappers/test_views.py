"""Records of views: every kind of broken or unusual picture, replacement, small crops, reduced decoding."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dense.data.formats.picture_sets import read_picture_folder
from dense.data.mappers.replacement import SKIPPED
from dense.data.mappers.views import ViewMapper, ViewSettings
from dense.data.transforms.views import VIEW_MODES
from dense.errors import DataError

NULL = ViewSettings(8, (0.2, 1.0), VIEW_MODES["NULL"])
BYOL = ViewSettings(8, (0.2, 1.0), VIEW_MODES["BYOL"])
RED = Image.fromarray(np.full((20, 30, 3), (200, 30, 30), np.uint8))


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def bomb():
    """A PNG that declares 60,000 x 60,000 pixels."""
    data = bytearray(encoded(RED, "PNG"))
    data[16:24] = struct.pack(">2I", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def palette():
    image = RED.quantize(4)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


def exif():
    """Stored on its side: 30 x 20 pixels that are seen as 20 x 30."""
    block = Image.Exif()
    block[0x0112] = 6
    return encoded(RED, "JPEG", exif=block, quality=95)


USABLE = {
    "grey.jpg": (encoded(RED.convert("L"), "JPEG"), (81, 81, 81)),
    "cmyk.jpg": (encoded(RED.convert("CMYK"), "JPEG", quality=95), (200, 30, 30)),
    "palette.png": (palette(), (255, 255, 255)),  # transparent, over white
    "sixteen.png": (encoded(Image.fromarray(np.full((20, 30), 200 * 257, np.uint16)), "PNG"), (200, 200, 200)),
    "alpha.png": (encoded(RED.convert("RGBA"), "PNG"), (200, 30, 30)),
    "film.gif": (encoded(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (30, 20), "blue")]), (200, 30, 30)),
    "bilevel.png": (encoded(Image.new("1", (30, 20), 1), "PNG"), (255, 255, 255)),
    "turned.jpg": (exif(), (200, 30, 30)),
    "narrow.png": (encoded(RED.resize((2, 300)), "PNG"), (200, 30, 30)),
    "jpeg_named.png": (encoded(RED, "JPEG", quality=95), (200, 30, 30)),
}
BROKEN = {
    "one.png": encoded(RED.resize((1, 1)), "PNG"),
    "line.png": encoded(RED.resize((1, 40)), "PNG"),
    "empty.jpg": b"",
    "text.jpg": b"not an image",
    "cut.jpg": encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)), "JPEG")[:3000],
    "cut.png": encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)), "PNG")[:9000],
    "bomb.png": bomb(),
    "float.tiff": encoded(Image.fromarray(np.ones((20, 30), np.float32)), "TIFF"),
}


def mapper(folder, files, settings=NULL):
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return ViewMapper(read_picture_folder(folder), settings, "mine")


@pytest.mark.parametrize("name", USABLE)
def test_view_mapper__unusual_picture__converted(tmp_path, name):
    """Catches modes that are refused, or colours that come out otherwise than they are seen."""
    data, colour = USABLE[name]
    record = mapper(tmp_path, {name: data})(0, np.random.default_rng(0))
    assert SKIPPED not in record
    assert record["views"].shape == (2, 3, 8, 8)
    assert record["views"].dtype == torch.uint8
    assert record["coords"].shape == (2, 4)
    assert record["coords"].dtype == torch.float32
    assert (record["index"], record["file_name"]) == (0, str(tmp_path / name))
    np.testing.assert_allclose(record["views"].float().mean((0, 2, 3)), colour, atol=4)


@pytest.mark.parametrize("name", BROKEN)
def test_view_mapper__broken_picture__replaced_and_named(tmp_path, name):
    """Catches a run that ends at the first broken file, or one that says nothing about it."""
    (tmp_path / name).write_bytes(BROKEN[name])
    broken = [str(tmp_path / name)]
    (tmp_path / "a good one.png").write_bytes(encoded(RED, "PNG"))
    found = ViewMapper(read_picture_folder(tmp_path), NULL, "mine")(1, np.random.default_rng(0))
    assert found["file_name"].endswith("a good one.png")
    assert found["index"] == 0
    assert [file for file, _ in found[SKIPPED]] == broken
    assert name in found[SKIPPED][0][1]


def test_view_mapper__all_broken__one_clear_error(tmp_path):
    """Catches an endless search."""
    views = mapper(tmp_path, BROKEN)
    for index in (0, 3):
        with pytest.raises(
            DataError, match=rf"'mine': none of its {len(BROKEN)} pictures can be used. The first: .*{tmp_path}"
        ):
            views(index, np.random.default_rng(0))


def test_view_mapper__one_good_among_many_broken__found(tmp_path):
    """Catches a search that gives up after some random tries."""
    files = {f"{k:02d}.png": b"" for k in range(60)} | {"99.png": encoded(RED, "PNG")}
    assert mapper(tmp_path, files)(3, np.random.default_rng(0))["index"] == 60


def test_view_mapper__known_broken_or_not__equal_records(tmp_path):
    """Catches a replacement that depends on what this worker has met before."""
    rng = np.random.default_rng(0)
    good = {f"g{k}.png": encoded(Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)), "PNG") for k in range(4)}
    files = BROKEN | good
    used = mapper(tmp_path, files, BYOL)
    for index in range(len(files)):
        used(index, np.random.default_rng(1))
    for index in range(len(files)):
        fresh = ViewMapper(used.pictures, BYOL, "mine")
        first, second = (views(index, np.random.default_rng([2, index])) for views in (used, fresh))
        assert first["index"] == second["index"]
        assert first.get(SKIPPED) == second.get(SKIPPED)
        assert torch.equal(first["views"], second["views"])
        assert torch.equal(first["coords"], second["coords"])


def test_view_mapper__settings__small_crops_and_channel_order(tmp_path):
    """Catches small crops of the wrong size or among the views, and BGR that is RGB."""
    settings = ViewSettings(8, (0.2, 1.0), VIEW_MODES["NULL"], small_number=3, small_side=5, bgr=True)
    record = mapper(tmp_path, {"a.png": encoded(RED, "PNG")}, settings)(0, np.random.default_rng(0))
    assert record["small"].shape == (3, 3, 5, 5)
    assert record["views"][0, :, 0, 0].tolist() == [30, 30, 200]
    assert record["small"][2, :, 4, 4].tolist() == [30, 30, 200]


@pytest.mark.parametrize("size", [(1200, 1600), (1003, 1337), (4000, 640)])
def test_view_mapper__reduced_decoding__same_plans_coordinates_and_nearly_same_pixels(tmp_path, size):
    """Catches reducing that changes draws or coordinates, shifts pixels, or never happens."""
    low = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(low).resize(size[::-1], Image.Resampling.BICUBIC)
    whole = ViewSettings(32, (0.3, 1.0), VIEW_MODES["NULL"], reduced=False)
    reduced = ViewSettings(32, (0.3, 1.0), VIEW_MODES["NULL"])
    exact = mapper(tmp_path, {"a.jpg": encoded(image, "JPEG", quality=95)}, whole)
    fast = ViewMapper(exact.pictures, reduced)
    differs = False
    for seed in range(5):
        a, b = (views(0, np.random.default_rng(seed)) for views in (exact, fast))
        assert torch.equal(a["coords"], b["coords"])
        difference = (a["views"].float() - b["views"].float()).abs()
        differs |= bool(difference.any())
        assert difference.mean() < 0.7
        shifted = (a["views"][..., 1:].float() - a["views"][..., :-1].float()).abs().mean()
        assert difference.mean() < shifted / 4  # a quarter of a view's pixel would be seen
    assert differs
