"""Single pictures: colour modes, orientation, broken and enormous files, natural order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dense.errors import DataError, VideoError
from dense.video import list_pictures, open_frames, read_picture
from dense.video.pictures import natural_key, over_white


@pytest.mark.parametrize("name", ["img-cmyk", "img-palette"])
def test_read_picture__cmyk_and_palette__have_the_right_colour(case, name):
    """Catches inverted CMYK and palette numbers taken for brightness."""
    one = case(name)
    image = read_picture(one.path)
    assert image.shape == (*one.facts["size"][::-1], 3)
    assert np.abs(image.astype(int) - one.facts["rgb"]).max() <= one.facts["tol"]


def test_read_picture__rgba__lies_over_white(case):
    """Catches a fourth channel, and hidden colours under transparent pixels."""
    one = case("img-rgba")
    image = read_picture(one.path)
    assert image.shape == (*one.facts["size"][::-1], 3)
    assert (image[:, 20:] == one.facts["rgb_right_half"]).all()
    assert (image[:, :20] == 255).all()


def test_over_white__every_alpha__is_the_exact_mean():
    """Catches overflow and rounding in the 16-bit arithmetic, against float64."""
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.stack([colour, colour, colour, alpha], axis=2).astype(np.uint8)
    exact = (colour * alpha + 255.0 * (255 - alpha)) / 255
    assert np.abs(over_white(rgba)[:, :, 0] - exact).max() <= 0.5


def test_read_picture__exif__all_eight_orientations_and_garbage(case, corner_of_red):
    """Catches each of the eight turns and a crash on a broken EXIF block."""
    one = case("img-exif-all")
    for name, facts in one.facts["images"].items():
        image = read_picture(one.folder / name)
        assert image.shape == (*facts["size"][::-1], 3), name
        assert corner_of_red(image) == facts["red"], name


def test_read_picture__one_pixel__keeps_its_size(case):
    """Catches squeezed dimensions."""
    one = case("img-one-pixel")
    for name, (width, height) in one.facts["sizes"].items():
        assert read_picture(one.folder / name).shape == (height, width, 3)


def test_read_picture__cut_off_jpeg__raises(case):
    """Catches the half-gray picture of a cut file."""
    with pytest.raises(DataError, match=r"cut\.jpg: .*truncated"):
        read_picture(case("img-truncated-jpeg").folder / "cut.jpg")
    with pytest.raises(VideoError, match=r"cut\.jpg"):
        list(open_frames(case("img-truncated-jpeg").folder / "cut.jpg"))


def test_list_pictures__mixed_folder__passes_over_system_files(case):
    """Catches one hard-coded extension and ._ files taken for pictures; the empty one is found and refused."""
    one = case("img-folder-mixed")
    found = list_pictures(one.path, recursive=True)
    usable, bad = [], []
    for path in found:
        try:
            read_picture(path)
        except DataError:
            bad.append(path.relative_to(one.path).as_posix())
        else:
            usable.append(path)
    assert len(usable) == one.facts["usable"]
    assert bad == one.facts["bad"]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "P", "RGB", "RGBA", "YCbCr", "CMYK"])
def test_read_picture__every_mode__is_rgb(tmp_path, mode):
    """Catches modes that crash or come out with another number of channels; mid gray stays mid gray."""
    deep = Image.fromarray(np.full((6, 8), 128 * 257, np.uint16))
    gray = deep if mode == "I;16" else Image.new("L", (8, 6), 128).convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    gray.save(path)
    image = read_picture(path)
    assert image.shape == (6, 8, 3)
    assert image.dtype == np.uint8
    if mode != "1":
        assert np.abs(image.astype(int) - 128).max() <= 2


def test_read_picture__16_bit_gray__is_scaled_not_clipped(tmp_path):
    """Catches the white picture that clipping 16 bits to 8 gives."""
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = np.arange(256).reshape(16, 16)
    assert np.array_equal(read_picture(tmp_path / "deep.png")[:, :, 1], expected)


def test_read_picture__transparent_palette__lies_over_white(tmp_path):
    """Catches the palette colour hidden under a transparent entry."""
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "p.png", transparency=0)
    image = read_picture(tmp_path / "p.png")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[2, 2].tolist() == [10, 200, 30]


def test_read_picture__floating_point__one_clear_line(tmp_path):
    """Catches a depth map silently clipped to black and white."""
    Image.fromarray(np.random.default_rng(0).random((4, 4), dtype=np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(DataError, match=r"depth\.tif: .*floating-point"):
        read_picture(tmp_path / "depth.tif")


def test_read_picture__declares_gigapixels__is_refused_before_decoding(case, tmp_path):
    """Catches decompression bombs: 1,170 bytes that declare 400 megapixels."""
    data = bytearray((case("vid-not-a-video").folder / "picture.mp4").read_bytes())
    start = data.find(b"\xff\xc0")
    data[start + 5 : start + 9] = (20000).to_bytes(2, "big") * 2
    for name in ("bomb.jpg", "bomb.mp4"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(VideoError, match=f"{name}: .*megapixels"):
            list(open_frames(tmp_path / name))


@pytest.mark.parametrize("limit", [100, 40 * 30])
def test_read_picture__pillow_limit_lowered__is_respected(case, monkeypatch, limit):
    """Catches our own limit hiding a stricter one that the user has set in Pillow."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    path = case("img-palette").path
    if limit < 40 * 30:
        with pytest.raises(DataError, match="megapixels"):
            read_picture(path)
    else:
        assert read_picture(path).shape == (30, 40, 3)


def test_read_picture__five_channels__one_clear_line(shared):
    """Catches a foreign traceback on scientific TIFFs."""
    with pytest.raises(DataError, match=r"five_channel_uint16\.tif: .*channels"):
        read_picture(shared / "data" / "real" / "images" / "five_channel_uint16.tif")


def test_read_picture__missing_file__names_it(tmp_path):
    """Catches FileNotFoundError leaking out."""
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        read_picture(tmp_path / "none.png")


def test_natural_key__numbers__sort_as_numbers():
    """Catches 10 before 2, case splitting the order, and numbers in folder names."""
    names = ["b10/1.png", "b9/2.png", "a1.png", "a.png", "A2.png", "a10.png"]
    paths = sorted((Path(name) for name in names), key=natural_key)
    assert [path.as_posix() for path in paths] == ["a.png", "a1.png", "A2.png", "a10.png", "b9/2.png", "b10/1.png"]
