"""Colours through the decoder: matrix, range, bit depth, gray, alpha; the formulas of ITU-T H.273 are the authority."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dense.video import VideoWriter, open_frames

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 64, 200), (90, 90, 90)]
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 2: (0.299, 0.114)}  # BT.709, BT.601, not said: BT.601


def to_yuv(colour, matrix, is_full):
    kr, kb = MATRICES[matrix]
    red, green, blue = (value / 255 for value in colour)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = ((blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr)))
    if is_full:
        return [255 * luma, *(128 + 255 * value for value in chroma)]
    return [16 + 219 * luma, *(128 + 224 * value for value in chroma)]


def write_flat(path, colours, pix_fmt, matrix, is_full):
    """Lossless FFV1 clip of flat frames whose planes are computed here, not by FFmpeg."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 2 if is_full else 1
        for index, colour in enumerate(colours):
            frame = av.VideoFrame(64, 48, pix_fmt)
            for plane, value in zip(frame.planes, to_yuv(colour, matrix, is_full), strict=True):
                ten_bits = "10le" in pix_fmt
                number = min(255, max(0, round(value))) if not ten_bits else min(1023, max(0, round(4 * value)))
                plane.update(np.full(plane.buffer_size // (1 + ten_bits), number, "<u2" if ten_bits else "u1").tobytes())
            frame.colorspace, frame.color_range = matrix, 2 if is_full else 1
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("is_full", [False, True])
def test_open_frames__flagged_colours__come_out_as_they_went_in(tmp_path, pix_fmt, matrix, is_full):
    """Catches red and blue exchanged, BT.601 used for BT.709 (off by 20 and more) and ranges mixed up (off by 16)."""
    write_flat(tmp_path / "x.mkv", COLOURS, pix_fmt, matrix, is_full)
    frames = list(open_frames(tmp_path / "x.mkv"))
    assert len(frames) == len(COLOURS)
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.image.astype(int) - colour).max() <= 4, (colour, frame.image[0, 0])


def test_open_frames__transparent_video__lies_over_white(tmp_path):
    """Catches alpha dropped in videos but kept in pictures: one rule for both."""
    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[:, 32:] = (10, 20, 30, 255)
    with av.open(str(tmp_path / "x.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgra"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        container.mux(stream.encode(None))
    image = next(iter(open_frames(tmp_path / "x.mkv"))).image
    assert (image[:, :32] == 255).all()
    assert (image[:, 32:] == (10, 20, 30)).all()


def test_open_frames__gray_clip__keeps_black_and_white(shared):
    """Catches gray video stretched or squeezed by a range conversion, against its luma plane."""
    path = shared / "data" / "real" / "videos" / "dog_gray_ffv1.mkv"
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray(format="gray")
    image = next(iter(open_frames(path))).image
    assert np.array_equal(image, np.repeat(luma[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_video_writer__flat_colours__survive_every_container(tmp_path, suffix):
    """Catches RGB written as BGR and a matrix that the file does not declare."""
    with VideoWriter(tmp_path / f"x{suffix}", rate=10) as writer:
        for colour in COLOURS:
            writer.write(np.full((48, 64, 3), colour, np.uint8))
    frames = list(open_frames(tmp_path / f"x{suffix}"))
    assert len(frames) == len(COLOURS)
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.image.astype(int) - colour).max() <= 8, (colour, frame.image[24, 32])
