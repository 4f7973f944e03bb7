"""Video panoptic quality and STQ: the reference's figures, and the formulas as loops over masks."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluation.video_panoptic import counted, matches_by_loops, tracking_by_loops
from dense.data.formats.category_table import Category
from dense.data.formats.coco_panoptic import SegmentInfo
from dense.data.formats.png_ids import write_id_map
from dense.errors import ConfigError, DataError
from dense.evaluation import evaluate_video_panoptic
from dense.evaluation.video_panoptic import WINDOWS, FramePair, VideoPanopticCounter

SUFFIXES = ("", "_th", "_st")


def percents(figures, prefix):
    return [figures[f"{prefix}{suffix}"] / 100 for suffix in SUFFIXES]


def test_evaluate_video_panoptic__golden_videos__vpq_of_the_reference(vipseg_files, golden):
    """Catches windows that are missed or doubled, void, crowds, and the mean over the wrong windows."""
    figures = evaluate_video_panoptic(*vipseg_files)
    with np.load(golden("evaluation/video_panoptic.npz")) as wanted:
        for k in WINDOWS:
            assert percents(figures, f"VPQ_{k}") == pytest.approx(wanted[f"vpq.window{k}.all_things_stuff"][:, 0], abs=1e-9)
        assert percents(figures, "VPQ") == pytest.approx(wanted["vpq.mean_1246"], abs=1e-9)
        eight = evaluate_video_panoptic(*vipseg_files, windows=(1, 2, 4, 6, 8))
        assert percents(eight, "VPQ") == pytest.approx(wanted["vpq.mean_12468_script"], abs=1e-9)


def test_evaluate_video_panoptic__golden_videos__categories_of_the_reference(vipseg_files, golden):
    """Catches categories exchanged, and their mean over windows."""
    figures = evaluate_video_panoptic(*vipseg_files)["per_category"]
    with np.load(golden("evaluation/video_panoptic.npz")) as wanted:
        tables = {k: wanted[f"vpq.window{k}.per_class"] for k in WINDOWS}
        for row, category_id in enumerate(wanted["vpq.category_ids"]):
            known = {k: tables[k][row] for k in WINDOWS}
            if not any(counts[2:].any() for counts in known.values()):
                assert f"c{category_id}" not in figures
                continue
            found = figures[f"c{category_id}"]
            assert {k: found[f"VPQ_{k}"] for k in WINDOWS} == pytest.approx({k: 100 * v[0] for k, v in known.items()})
            assert found["VPQ"] == pytest.approx(100 * np.mean([v[0] for v in known.values()]))


def test_evaluate_video_panoptic__golden_videos__stq_of_the_reference(vipseg_files, golden):
    """Catches tubes of the wrong class, the habits of the published code, and tables of the wrong video."""
    figures = evaluate_video_panoptic(*vipseg_files)
    with np.load(golden("evaluation/video_panoptic.npz")) as wanted:
        for name, key in (("STQ", "STQ"), ("AQ", "AQ"), ("SQ", "IoU")):
            assert figures[name] / 100 == pytest.approx(float(wanted[f"stq.{key}"]), abs=1e-9)
            each = [figures["per_video"][f"video{i}"][name] / 100 for i in range(5)]
            assert each == pytest.approx(wanted[f"stq.{key}_per_seq"], abs=1e-9)
        frames = [figures["per_video"][f"video{i}"]["frames"] for i in range(5)]
        assert frames == wanted["stq.Length_per_seq"].tolist()


@st.composite
def video(draw):
    """Maps of a few frames in blocks, so that tubes overlap well, and their segments; a prediction near the truth."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    frames = draw(st.integers(1, 5))
    blocks = rng.integers(0, 5, (frames, 3, 4)) if draw(st.booleans()) else np.repeat(rng.integers(0, 5, (1, 3, 4)), frames, 0)
    truth = np.repeat(np.repeat(blocks, 2, 1), 2, 2).astype(np.int32)
    guess = np.where(rng.uniform(size=truth.shape) < draw(st.floats(0, 0.6)), rng.integers(0, 5, truth.shape), truth)
    guess = (guess + 70_000 * (guess > 0)).astype(np.int32)
    category, crowd = rng.integers(1, 4, 5), rng.uniform(size=5) < 0.25
    wrong = rng.integers(0, 2, (frames, 5))  # a prediction may change its category from frame to frame
    wanted = [[SegmentInfo(i, int(category[i]), bool(crowd[i])) for i in _ids(m)] for m in truth]
    found = [
        [SegmentInfo(i, int(category[i - 70_000] + wrong[t, i - 70_000]) % 4, False) for i in _ids(m)]
        for t, m in enumerate(guess)
    ]
    return truth, wanted, guess, found


def _ids(ids):
    return [int(i) for i in np.unique(ids) if i]


CATEGORIES = [Category(0, "a"), Category(1, "b"), Category(2, "c", isthing=False), Category(3, "d", isthing=False)]


@settings(max_examples=60, deadline=None)
@given(videos=st.lists(video(), min_size=1, max_size=3), published=st.booleans())
def test_video_panoptic_counter__random_videos__equals_loops_over_masks(videos, published):
    """Catches any slip in windows, tubes, void, crowds, classes that change, and in adding videos up."""
    counter = VideoPanopticCounter(CATEGORIES, (1, 2, 3), published_stq=published)
    for name, arrays in enumerate(videos):
        counter.add_video(str(name), counted(*arrays))
    for k in (1, 2, 3):
        total = {}
        for table in (matches_by_loops(*arrays, k) for arrays in videos):
            for category_id, counts in table.items():
                mine = total.setdefault(category_id, dict.fromkeys(counts, 0))
                total[category_id] = {name: mine[name] + counts[name] for name in counts}
        found = {category_id: vars(count) for category_id, count in counter.counts(k).counts.items()}
        assert set(found) == set(total)
        for category_id, counts in total.items():
            assert found[category_id] == pytest.approx(counts)
    expected = tracking_by_loops(videos, {0, 1}, published)
    figures = counter.figures()
    assert {name: figures[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert figures["per_video"]["0"]["STQ"] == pytest.approx(
        tracking_by_loops(videos[:1], {0, 1}, published)["STQ"], nan_ok=True
    )


def test_video_panoptic_counter__long_video__few_frames_are_held():
    """Catches frames that are kept until the end of the video."""
    alive, most = [], []

    class Counted(FramePair):
        def __del__(self):
            alive.pop()

    def frames():
        for _ in range(40):
            alive.append(1)
            most.append(len(alive))
            segment = {1: SegmentInfo(1, 1, False)}
            yield Counted({(1, 1): 5}, segment, segment)

    VideoPanopticCounter(CATEGORIES).add_video("v", frames())
    assert max(most) <= max(WINDOWS) + 2


def test_evaluate_video_panoptic__short_videos__longer_windows_undefined(vipseg_files):
    """Catches a mean over fewer windows that is shown as VPQ, and 0 where there is nothing to measure."""
    own = evaluate_video_panoptic(*vipseg_files)["per_video"]["video1"]  # 3 frames
    assert own["VPQ_2"] > 0
    assert math.isnan(own["VPQ_4"])
    assert math.isnan(own["VPQ"])


def test_evaluate_video_panoptic__truth_against_itself__hundred(vipseg_files):
    """Catches anything that costs a perfect prediction, crowds included."""
    truth, folder, _, _ = vipseg_files
    figures = evaluate_video_panoptic(truth, folder, truth, folder, published_stq=False)
    assert [figures[f"VPQ{suffix}"] for suffix in SUFFIXES] == pytest.approx([100, 100, 100])
    assert [figures[name] for name in ("STQ", "SQ", "AQ")] == pytest.approx([100, 100, 100])


@pytest.mark.parametrize("windows", [(), (0, 1), (2, 2)])
def test_evaluate_video_panoptic__bad_windows__error(vipseg_files, windows):
    """Catches windows that crash, or count twice."""
    with pytest.raises(ConfigError, match="windows"):
        evaluate_video_panoptic(*vipseg_files, windows=windows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ids: ids[:, :-1], "24x31"),
        (lambda ids: np.where(ids == ids.max(), 12345, ids), "12345"),
        (lambda ids: np.where(ids == ids.max(), 0, ids), "no pixel of id"),
    ],
)
@pytest.mark.parametrize("side", ["gt", "pred"])
def test_evaluate_video_panoptic__png_that_disagrees__error_names_it(vipseg_files, golden, side, change, words):
    """Catches another resolution and other ids, scored silently or ending as a foreign traceback."""
    with np.load(golden("evaluation/video_panoptic.npz")) as arrays:
        ids = change(arrays[f"vps.video2.{side}"][4])
    write_id_map(vipseg_files[1].parent / side / "video2" / "00004.png", ids)
    with pytest.raises(DataError) as caught:
        evaluate_video_panoptic(*vipseg_files)
    assert f"{side}/video2/00004.png" in str(caught.value)
    assert words in str(caught.value)


def test_evaluate_video_panoptic__png_missing__error_names_it(vipseg_files):
    """Catches frames without a picture that are passed over."""
    (vipseg_files[3] / "video3" / "00009.png").unlink()
    with pytest.raises(DataError, match=r"video3/00009\.png"):
        evaluate_video_panoptic(*vipseg_files)


def test_evaluate_video_panoptic__no_folder__error(vipseg_files, tmp_path):
    """Catches a wrong folder that is reported as a missing picture."""
    with pytest.raises(DataError, match="nowhere: no such folder"):
        evaluate_video_panoptic(*vipseg_files[:3], tmp_path / "nowhere")


def test_evaluate_video_panoptic__results_in_another_order__same_figures(vipseg_files, tmp_path):
    """Catches frames that are paired by their place in the file instead of their name."""
    data = json.loads(vipseg_files[2].read_text(encoding="utf-8"))
    data["annotations"].reverse()
    for entry in data["annotations"]:
        entry["annotations"].reverse()
    (tmp_path / "turned.json").write_text(json.dumps(data), encoding="utf-8")
    figures = evaluate_video_panoptic(*vipseg_files[:2], tmp_path / "turned.json", vipseg_files[3])
    assert figures["VPQ"] == evaluate_video_panoptic(*vipseg_files)["VPQ"]
