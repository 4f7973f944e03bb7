"""The demo on real clips of many kinds (needs the shared data): a few frames of each, all frames of the hard ones."""

from itertools import pairwise

import pytest

UPRIGHT = {  # (height, width) as a viewer sees it, before padding to even sizes
    "bars_av1.mkv": (360, 640),
    "bars_h264_10bit.mp4": (200, 200),
    "bars_hevc_10bit.mp4": (200, 200),
    "bunny_vp8.webm": (720, 1280),
    "dog_gray_ffv1.mkv": (136, 240),
    "dog_h264_720p.mp4": (720, 1280),
    "dog_hevc_10bit.mp4": (240, 426),
    "dog_mjpeg_odd_333x187.avi": (187, 333),
    "dog_mpeg2.ts": (198, 352),
    "dog_mpeg2_bitflips.ts": (198, 352),
    "dog_portrait_vp9.webm": (360, 202),
    "dog_vfr.mkv": (240, 426),
    "juggle_h264_720p.mp4": (720, 1280),
    "keys_rot0.mov": (320, 568),
    "keys_rot180.mov": (320, 568),
    "keys_rot270.mov": (568, 320),
    "keys_rot90.mov": (568, 320),
    "nasa_two_video_two_audio.mp4": (270, 480),
}
DAMAGED = {"bars_corrupted.mp4": 28, "dog_cut_faststart.mp4": 22}
REFUSED = ("dog_cut_no_index.mp4", "empty.mp4", "nasa_audio_only.mp3")


@pytest.fixture(scope="module")
def real(shared):
    folder = shared / "data" / "real"
    if not folder.is_dir():
        pytest.skip("no real data under DENSE_SHARED")
    return folder


def test_demo__list_of_clips__is_complete(real):
    """Catches a clip that was added to the shared data and never tried."""
    assert {p.name for p in (real / "videos").iterdir()} == {*UPRIGHT, *DAMAGED, *REFUSED}


@pytest.mark.parametrize("name", UPRIGHT)
def test_demo__real_clip__video_plays_upright_with_all_frames(demo, decoded, json_lines, real, tmp_path, name):
    """Catches codecs, pixel formats, containers and rotations that only real files have."""
    outcome = demo("--input", real / "videos" / name, "--output", tmp_path, "--max-frames", "3")
    assert outcome.status == 0
    (height, width), times = decoded(tmp_path / "annotated.mp4")
    assert (height, width) == tuple(side + side % 2 for side in UPRIGHT[name])
    lines = json_lines(tmp_path / "predictions.jsonl")[1:]
    assert len(times) == len(lines) == 3
    assert times == pytest.approx([line["time_s"] for line in lines], abs=0.002)
    assert {(line["height"], line["width"]) for line in lines} == {UPRIGHT[name]}


@pytest.mark.parametrize("name", DAMAGED)
def test_demo__damaged_real_clip__keeps_every_good_frame(demo, decoded, json_lines, real, tmp_path, name):
    """Catches lost frames before the damage, open files behind it, and a run that calls itself done."""
    outcome = demo("--input", real / "videos" / name, "--output", tmp_path)
    assert outcome.status == 1
    assert [line for line in outcome.err if "Error" in line] == outcome.err[-1:]
    assert name in outcome.err[-1]
    assert len(decoded(tmp_path / "annotated.mp4")[1]) == DAMAGED[name]
    assert len(json_lines(tmp_path / "predictions.jsonl")) == 1 + DAMAGED[name]
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("name", REFUSED)
def test_demo__no_video__is_one_line(demo, real, tmp_path, name):
    """Catches foreign tracebacks for downloads that broke off and files of sound only."""
    outcome = demo("--input", real / "videos" / name, "--output", tmp_path)
    assert outcome.status == 1
    (line,) = outcome.err
    assert name in line
    assert not list(tmp_path.iterdir())


def test_demo__variable_frame_rate__keeps_every_time(demo, decoded, real, tmp_path):
    """Catches times that are evened out: the annotated clip would run out of step with the sound."""
    source = real / "videos" / "dog_vfr.mkv"
    assert demo("--input", source, "--output", tmp_path).status == 0
    expected = decoded(source)[1]
    steps = [b - a for a, b in pairwise(expected)]
    assert max(steps) > 5 * min(steps)  # the clip is what its name says
    assert decoded(tmp_path / "annotated.mp4")[1] == pytest.approx(expected, abs=0.002)


def test_demo__folder_of_jpegs__one_frame_per_file(demo, decoded, json_lines, real, tmp_path):
    """Catches frames of a folder that are skipped, or times that ignore --rate."""
    source = real / "davis" / "frames" / "dog"
    count = len(list(source.glob("*.jpg")))
    assert demo("--input", source, "--output", tmp_path, "--rate", "15").status == 0
    size, times = decoded(tmp_path / "annotated.mp4")
    assert size == (480, 854)
    assert times == pytest.approx([t / 15 for t in range(count)], abs=0.002)
    assert len(json_lines(tmp_path / "predictions.jsonl")) == 1 + count
