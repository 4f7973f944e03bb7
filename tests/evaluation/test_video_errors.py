"""Error analysis of video instances: each kind by hand, the cost of each kind by mending the files, degenerate input."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.formats import AnnotationsMissingError
from dense.errors import ConfigError, DataError
from dense.evaluation import analyse_video_errors, evaluate_video_instances
from dense.evaluation.error_kinds import ERROR_KINDS, Stay
from dense.evaluation.error_sorting import COVERING
from dense.evaluation.video_instances import load_video_inputs, precision_tables


def sibling(name):
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tubes = sibling("error_tubes")
prediction, right, truth = tubes.prediction, tubes.right, tubes.truth
random_set = sibling("test_video_instances").random_set

# what is predicted, beside the objects found perfectly -> kinds that must come out, and of the first error of the kind:
# frames that show it, predictions (positions), annotation ids
CASES = {
    "second track on a found object": (right("A", "B", "C"), [prediction("A" * 10)], "duplicate", 1, range(10), (3, 0), (11,)),
    "short second track at the same time": (
        right("A", "B", "C"),
        [prediction("..AAAA....")],
        "duplicate",
        1,
        range(2, 6),
        (3, 0),
        (11,),
    ),
    "other category": (right("B", "C"), [prediction("A" * 10, 2)], "classification", 1, range(10), (2,), (11,)),
    "other category on a found object": (
        right("A", "B", "C"),
        [prediction("A" * 10, 2)],
        "classification",
        1,
        range(10),
        (3,),
        (11,),
    ),
    "two tracks exchanged": (
        right("C"),
        [prediction("AAAAABBBBB", score=0.8), prediction("BBBBBAAAAA", score=0.7)],
        "identity switch",
        2,
        [5],
        (1,),
        (11, 12),
    ),
    "switch to another category": (
        right("B", "C"),
        [prediction("AAAAACCCCC")],
        "identity switch",
        1,
        [5],
        (2,),
        (11, 13),
    ),
    "there and back": (right("B", "C"), [prediction("AAABBBBBAA")], "identity switch", 1, [3, 8], (2,), (11, 12)),
    "two parts, none enough": (
        right("B", "C"),
        [prediction("AAAA......"), prediction("....AAAA..", score=0.4)],
        "fragment",
        2,
        range(4),
        (2, 3),
        (11,),
    ),
    "a part found, the rest another track": (
        right("B", "C"),
        [prediction("AAAAAA....", score=0.8), prediction("......AAAA")],
        "fragment",
        1,
        range(6, 10),
        (3, 2),
        (11,),
    ),
    "late start": (right("B", "C"), [prediction("......AAAA")], "late start / early end", 1, range(6), (2,), (11,)),
    "early end": (right("B", "C"), [prediction("AAAA......")], "late start / early end", 1, range(4, 10), (2,), (11,)),
    "long gap": (right("B", "C"), [prediction("AA......AA")], "late start / early end", 1, range(2, 8), (2,), (11,)),
    "two tracks at the same time, none enough": (
        right("B", "C"),
        [prediction("AAAA......"), prediction(".AAAA.....", score=0.4)],
        "late start / early end",
        2,
        range(4, 10),
        (2,),
        (11,),
    ),
    "two short tracks in turn on a found object": (
        right("A", "B", "C"),
        [prediction("AA........"), prediction("........AA", score=0.4)],
        "duplicate",
        2,
        range(2),
        (3, 0),
        (11,),
    ),
    "one frame, less than the background": (
        right("B", "C"),
        [prediction("A.........", width=6)],
        "late start / early end",
        1,
        range(1, 10),
        (2,),
        (11,),
    ),
    "from a found object to a lost one": (
        right("A", "C"),
        [prediction("AAAAAABBBB")],
        "identity switch",
        1,
        [6],
        (2,),
        (12, 11),
    ),
    "on two objects, mostly on none": (
        right("B", "C"),
        [prediction("AAxxxxxxBB")],
        "mask",
        1,
        range(2, 10),
        (2,),
        (11,),
    ),
    "narrow masks": (right("B", "C"), [prediction("A" * 10, width=3)], "mask", 1, range(10), (2,), (11,)),
    "nothing there": (right("A", "B", "C"), [prediction("x" * 10)], "false alarm", 1, range(10), (3,), ()),
    "category and masks wrong": (
        right("A", "B", "C"),
        [prediction("A" * 10, 2, width=3)],
        "false alarm",
        1,
        range(10),
        (3,),
        (11,),
    ),
    "nothing near": (right("B", "C"), [], "missed", 1, range(10), (), (11,)),
}


@pytest.mark.parametrize("name", CASES)
def test_analyse_video_errors__one_kind_by_hand__that_kind_and_no_other(name):
    """Catches wrong tests or precedence of kinds, and evidence that points to other frames, tracks or objects."""
    found, wrong, kind, count, frames, predictions, ids = CASES[name]
    report = analyse_video_errors(truth(), [*found, *wrong])
    assert {k: f.count for k, f in report.kinds.items() if f.count} == {kind: count}
    error = report.errors[0]
    assert (error.kind, error.video_id) == (kind, 1)
    assert error.frames == tuple(frames)
    assert (error.predictions, error.object_ids) == (predictions, ids)
    assert 1 <= len(error.shown) <= 4
    assert list(error.shown) == sorted(set(error.shown))
    assert all(f.lost_ap == 0 for k, f in report.kinds.items() if k != kind)


def test_analyse_video_errors__rest_under_another_category__no_fragment():
    """Catches tracks joined to one that do not say the same of the object."""
    report = analyse_video_errors(truth(), [*right("B", "C"), prediction("AAAA......"), prediction("....AAAA..", 2)])
    assert [error.kind for error in report.errors] == ["late start / early end", "false alarm"]


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ("AAAAABBBBB", (4, 5)),  # before and after the switch
        ("AAABBBBBAA", (2, 3, 7, 8)),
        ("......AAAA", (3, 6)),  # amid the gap, and the nearest frame with the track
        ("...AAAA...", (1, 3, 6, 8)),
        ("", (1, 5, 8)),  # spread over the object's frames
    ],
)
def test_analyse_video_errors__frames_to_show__those_that_tell_it(wrong, shown):
    """Catches pictures that do not show the error."""
    report = analyse_video_errors(truth(), [*right("B", "C"), *([prediction(wrong)] if wrong else [])])
    assert [error.shown for error in report.errors] == [shown]


def test_analyse_video_errors__object_lost__cost_worked_out_by_hand():
    """Catches costs that are not points of AP: half of one of two categories is lost, so 51 of 101 recall points are left."""
    category = 100 * 51 / 101
    for wrong, kind in (
        ([], "missed"),
        ([prediction("A" * 10, width=3)], "mask"),
        ([prediction("......AAAA")], "late start / early end"),
        ([prediction("AAAAACCCCC")], "identity switch"),
        ([prediction("A" * 10, 2)], "classification"),
    ):
        report = analyse_video_errors(truth(), [*right("B", "C"), *wrong])
        assert report.ap == pytest.approx((category + 100) / 2)
        assert report.kinds[kind].lost_ap == pytest.approx((100 - category) / 2), kind
    # the wrong one is ranked first: precision 1/2 as long as it stands
    false_alarm = [*right("A", "B", "C"), prediction("x" * 10, 2, score=0.99)]
    report = analyse_video_errors(truth(), false_alarm)
    assert (report.ap, report.kinds["false alarm"].lost_ap) == (pytest.approx(75), pytest.approx(25))


def test_analyse_video_errors__perfect__nothing_lost():
    """Catches errors seen in right predictions."""
    report = analyse_video_errors(truth(A="AAAA..AAAA"), [prediction("AAAA..AAAA"), *right("B", "C")])
    assert report.ap == 100
    assert report.errors == ()
    assert all((f.count, f.lost_ap) == (0, 0) for f in report.kinds.values())
    assert tuple(report.kinds) == tuple(ERROR_KINDS)


def test_analyse_video_errors__right_track_that_switches__in_the_history_only():
    """Catches switches that are only noticed where AP is lost, and single frames counted as a stay."""
    tracks = [prediction("AAAAAAABBB", score=0.8), prediction("BBBBBABBBB", score=0.7), *right("C")]
    report = analyse_video_errors(truth(), tracks)
    assert report.errors == ()
    first, second = (next(t for t in report.tracks if t.prediction == i) for i in (0, 1))
    assert first.stays == (Stay(11, 0, 6), Stay(12, 7, 9))
    assert first.switches == (7,)
    assert first.follows == (11,) * 7 + (12,) * 3
    assert (first.object_id, first.iou) == (11, pytest.approx(7 / 13))
    assert second.stays == (Stay(12, 0, 9),)
    assert second.switches == ()


def test_analyse_video_errors__on_a_crowd__no_error():
    """Catches predictions counted as wrong that the evaluator ignores, and crowds counted as missed."""
    data = truth()
    data["annotations"][0]["iscrowd"] = 1
    report = analyse_video_errors(data, [*right("B", "C"), prediction("A" * 10), prediction("A" * 10)])
    assert report.errors == ()
    assert [t.ignored for t in report.tracks if t.prediction >= 2] == [True, True]


def test_analyse_video_errors__more_than_the_evaluator_scores__not_counted():
    """Catches errors among predictions beyond the hundred best of a category, which cost nothing."""
    report = analyse_video_errors(truth(), [*right("A", "B", "C"), *[prediction("A" * 10)] * 120])
    assert report.kinds["duplicate"].count == 98


def test_analyse_video_errors__no_predictions__everything_missed():
    """Catches a division by zero, and a category left without objects that drops out of the mean."""
    report = analyse_video_errors(truth(), [])
    assert report.ap == 0
    assert report.kinds["missed"].count == 3
    assert report.kinds["missed"].lost_ap == 100


def test_analyse_video_errors__no_objects__undefined():
    """Catches 0 given for what cannot be said."""
    report = analyse_video_errors(truth(A="", B="", C=""), [prediction("A" * 10)])
    assert math.isnan(report.ap)
    assert report.kinds["false alarm"].count == 1
    assert math.isnan(report.kinds["false alarm"].lost_ap)


def test_analyse_video_errors__wrong_input__own_error():
    """Catches foreign tracebacks and nonsense from thresholds out of range."""
    with pytest.raises(AnnotationsMissingError):
        analyse_video_errors(truth() | {"annotations": None}, [])
    with pytest.raises(DataError):
        analyse_video_errors(truth(), [prediction("A" * 10) | {"video_id": 2}])
    for wrong in ({"iou": 0}, {"iou": 1.5}, {"iou": math.nan}, {"background": -0.1}, {"background": 0.6}):
        with pytest.raises(ConfigError):
            analyse_video_errors(truth(), [], **wrong)


def random_tracks(rng):
    """Long tracks that change objects, start late, stop, lie or are named wrongly: all kinds occur."""
    data = truth(**{name: "".join(rng.choice([name, name, "."], tubes.FRAMES)) for name in tubes.KINDS})
    predictions = []
    for _ in range(rng.integers(0, 6)):
        cuts = np.sort(rng.integers(0, tubes.FRAMES + 1, 2))
        parts = np.diff([0, *cuts, tubes.FRAMES])
        text = "".join(letter * n for letter, n in zip(rng.choice([*"AABC.x"], 3).tolist(), parts.tolist(), strict=True))
        texts = [text]
        if rng.random() < 0.5:  # one track in two pieces, so that there are fragments too
            first, rest = int(parts[0]), tubes.FRAMES - int(parts[0])
            texts = ["A" * first + "." * rest, "." * first + "A" * rest]
        category, width = int(rng.choice([1, 1, 2])), int(rng.choice([3, 7, 8]))
        predictions += [prediction(t, category, float(np.round(rng.random(), 1)), width) for t in texts]
    return data, predictions, None


def category_aps(data, predictions):
    """AP at IoU 0.5 of each category in percent, from the files; NaN without objects."""
    dataset, records = load_video_inputs(data, predictions)
    return 100 * precision_tables(dataset, records).precision[0, :, :, 0, -1].mean(axis=0)


def mended_files(data, predictions, errors):
    """Ground truth and results after the oracle, by its description: found objects stay, one prediction per lost one."""
    matched = {t.object_id for t in analyse_video_errors(data, predictions).tracks}
    objects = {a["id"]: a for a in data["annotations"]}
    gone, removed, results = set(), set(), dict(enumerate(predictions))
    for error in sorted(errors, key=lambda e: -(e.score or 0)):
        target = error.object_ids[0] if error.object_ids else None
        if error.kind == "missed":
            removed.add(target)
        elif error.kind in COVERING and target not in matched:
            matched.add(target)
            fields = {name: objects[target][name] for name in ("category_id", "segmentations")}
            results[error.predictions[0]] = results[error.predictions[0]] | fields
        else:
            gone.add(error.predictions[0])
    left = [a for a in data["annotations"] if a["id"] not in removed]
    return data | {"annotations": left}, [r for i, r in results.items() if i not in gone]


SETS = st.sampled_from([random_set, random_tracks])


def test_random_tracks__kinds__all_occur():
    """Catches a generator that leaves kinds of errors untried by the tests below."""
    seen = set()
    for seed in range(60):
        data, predictions, _ = random_tracks(np.random.default_rng(seed))
        seen |= {error.kind for error in analyse_video_errors(data, predictions).errors}
    assert seen == set(ERROR_KINDS)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), SETS)
def test_analyse_video_errors__random_videos__costs_equal_mended_files_scored_anew(seed, make):
    """Catches a cost that differs from the evaluator's AP of files with these errors mended; and what mending must bring."""
    rng = np.random.default_rng(seed)
    data, predictions, _ = make(rng)
    for place, score in enumerate(rng.permutation(len(predictions))):
        predictions[place]["score"] = float(score)  # no ties: their order is not part of the definition
    report = analyse_video_errors(data, predictions)
    before = category_aps(data, predictions)
    defined = ~np.isnan(before)
    if not defined.any():
        assert math.isnan(report.ap)
        return
    assert report.ap == pytest.approx(evaluate_video_instances(data, predictions)["AP50"], abs=1e-9)
    for kinds in [{kind} for kind in ERROR_KINDS] + [set(ERROR_KINDS)]:
        after = category_aps(*mended_files(data, predictions, [e for e in report.errors if e.kind in kinds]))
        ap = float(np.where(np.isnan(after), 100, after)[defined].mean())
        if len(kinds) > 1:
            assert ap == pytest.approx(100)
        else:
            assert report.kinds[min(kinds)].lost_ap == pytest.approx(ap - report.ap, abs=1e-9)
            assert report.kinds[min(kinds)].lost_ap >= -1e-9


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), SETS, st.sampled_from([0.3, 0.5, 0.75, 1.0]))
def test_analyse_video_errors__random_videos__one_kind_each(seed, make, iou):
    """Catches predictions or objects with no kind or with two, and right ones with any."""
    data, predictions, _ = make(np.random.default_rng(seed))
    report = analyse_video_errors(data, predictions, iou=iou)
    wrong = [t.prediction for t in report.tracks if t.object_id is None and not t.ignored]
    assert sorted(e.predictions[0] for e in report.errors if e.kind != "missed") == sorted(wrong)
    found = {t.object_id for t in report.tracks} - {None}
    lost = {a["id"] for a in data["annotations"] if not a["iscrowd"]} - found
    missed = [e.object_ids[0] for e in report.errors if e.kind == "missed"]
    concerned = {e.object_ids[0] for e in report.errors if e.kind in COVERING}
    assert len(missed) == len(set(missed))
    assert set(missed) == lost - concerned
    assert sum(f.count for f in report.kinds.values()) == len(report.errors)
    lengths = {v["id"]: len(v["file_names"]) for v in data["videos"]}
    for error in report.errors:
        assert set(error.shown) | set(error.frames) <= set(range(lengths[error.video_id]))
