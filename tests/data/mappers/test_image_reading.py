"""Reading frames: by content, upright, RGB; bad files are named."""

import numpy as np
import pytest
import torch
from PIL import Image

from dense.data.mappers import image_tensor, read_image
from dense.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_read_image__png_named_jpg__content_decides(tmp_path):
    """A reader that trusts the extension."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", (6, 9)), PIXELS)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_read_image__other_modes__become_three_channels(tmp_path, mode):
    """A grey or palette image with two dimensions."""
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (6, 9, 3)


def test_read_image__exif_rotation__is_applied_before_the_size_check(tmp_path):
    """Frames of a phone that lie on their side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (9, 6)), np.rot90(PIXELS, -1))


def _broken(path, kind):
    Image.fromarray(np.repeat(np.repeat(PIXELS, 20, 0), 20, 1)).save(path, "JPEG" if "jpeg" in kind else "PNG")
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not an image"}.get(kind, data[: len(data) // 2]))


@pytest.mark.parametrize("kind", ["empty", "text", "half a png", "half a jpeg"])
def test_read_image__broken_file__data_error_names_it(tmp_path, kind):
    """A broken frame that shows as a foreign traceback, or is silently grey."""
    path = tmp_path / "00007.jpg"
    _broken(path, kind)
    with pytest.raises(DataError, match=r"00007\.jpg: cannot be read") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_read_image__missing_wrong_size_or_deep__data_error_names_it(tmp_path):
    """Wrong input accepted or reported without its name."""
    with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
        read_image(tmp_path / "gone.jpg")
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: image is 6x9 pixels .* says 9x6"):
        read_image(tmp_path / "a.png", (9, 6))
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: image of mode 'I;16'"):
        read_image(tmp_path / "deep.png")


def test_image_tensor__rgb_or_bgr__channels_first():
    """Swapped channels or a tensor that is not contiguous."""
    rgb, bgr = image_tensor(PIXELS), image_tensor(PIXELS, bgr=True)
    assert rgb.is_contiguous()
    np.testing.assert_array_equal(rgb.numpy(), PIXELS.transpose(2, 0, 1))
    assert torch.equal(bgr, rgb.flip(0))
