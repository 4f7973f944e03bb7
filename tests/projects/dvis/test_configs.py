"""Our configurations of the published rows: the published values, known data sets, a recipe without gaps.

``official_files.tsv`` lists the effective values of the official files; the table below, what the paper's recipe adds to them.
"""

import csv
import functools
import re

import pytest
import yaml

from dense import load_config
from dense.config.architectures import class_count
from dense.config.official import NAMES
from dense.data.datasets import find_dataset, with_kinds
from dense.data.loaders import pseudo_augmentation_from_config, video_augmentation_from_config
from dense.data.loaders.video_map_config import video_map_augmentation_from_config

PARTS = ("backbones", "recipes", "stages")  # what a row is put together from
FOLDERS = {"vipseg": "VIPSeg", "vspw": "VSPW"}
STAGES = {"minvis": "MinVIS", "ctvis": "CTVIS", "online": "DVIS_Plus_Online", "offline": "DVIS_Plus_Offline"}
BACKBONES = {"r50": "", "vitl": "vit_adapter/", "swinl": "swim/"}
ENDINGS = {"r50": "R50", "vitl": "VitAdapterL", "swinl": "SwinL"}
IRREGULAR = {
    "ytvis19/online_r50": "ytvis19/DVIS_Plus_Online_R50_4wIter",
    "ytvis19/online_r50_long": "ytvis19/DVIS_Plus_Online_R50_8wIter",
    "ytvis21/online_r50": "ytvis21/DVIS_Plus_Online_R50_4wIter",
    "ytvis21/online_r50_long": "ytvis21/DVIS_Plus_Online_R50_8wIter",
    "ytvis22/online_vitl": "ytvis21/vit_adapter/DVIS_Plus_Online_VitAdapterL_ytvis22eval",
    "ovis/online_r50": "ovis/DVIS_Plus_Online_R50_4wIter",
    "ovis/online_r50_long": "ovis/DVIS_Plus_Online_R50_16wIter",
    "vipseg/ctvis_r50": "VIPSeg/CTVIS_r50",
    "vspw/minvis_r50": "VSPW/MinVIS_R50_720p",
    "vspw/minvis_r50_480p": "VSPW/MinVIS_R50_480p",
}
UNPUBLISHED = {"ovis/ctvis_swinl", "vipseg/minvis_vitl"}  # nobody's; an official file that cannot be loaded

INSTANCES = ("ytvis19", "ytvis21", "ytvis22", "ovis")
#: (stage, instances?, large backbone?) → base rate, drops
RATES = {
    ("minvis", True, False): (1e-4, (28000,)),
    ("ctvis", True, False): (5e-5, (12000, 24000)),
    ("ctvis", True, True): (5e-5, (6000, 12000)),
    ("ctvis", False, False): (1e-4, (14000, 18000)),
    ("online", True, False): (1e-4, (28000,)),
    ("online", False, False): (1e-4, (14000,)),
    ("offline", True, False): (1e-4, (28000,)),
    ("offline", False, False): (1e-4, (14000,)),
}
LONG = {"ytvis19/online_r50_long": (56000,), "ytvis21/online_r50_long": (56000,), "ovis/online_r50_long": (112000,)}


def rows_of(root):
    """Name (``ytvis19/online_r50``) → file, of all that can be trained."""
    files = (path for path in (root / "configs" / "dvis").glob("*/*.yaml") if path.parent.name not in PARTS)
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(files) if path.stem != "dataset"}


def official_name(name):
    dataset, _, file = name.partition("/")
    stage, backbone = file.split("_")[:2]
    regular = f"{FOLDERS.get(dataset, dataset)}/{BACKBONES[backbone]}{STAGES[stage]}_{ENDINGS[backbone]}"
    return f"dvis_Plus/{IRREGULAR.get(name, regular)}.yaml"


@pytest.fixture(scope="module")
def published(root):
    with (root / "tests" / "data" / "configs" / "official_files.tsv").open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream, delimiter="\t")}


@pytest.fixture(scope="module")
def configs(root):
    return {name: load_config(path) for name, path in rows_of(root).items()}


def test_rows__published_files__each_has_ours(root, published):
    """Catches a published combination of data set, backbone and stage that is missing here."""
    wanted = {
        file
        for file, row in published.items()
        if file.startswith("dvis_Plus/") and row["architecture"] != "GeneralizedRCNN" and "rebuttal" not in file
    }
    assert {official_name(name) for name in rows_of(root)} - wanted == {official_name(name) for name in UNPUBLISHED}
    assert wanted <= {official_name(name) for name in rows_of(root)}
    assert len(wanted) == len(rows_of(root)) - len(UNPUBLISHED) == 46


def values_of(cfg):
    """In the form of a line of the table."""
    former, inputs = cfg.MODEL.MASK_FORMER, cfg.INPUT
    return {
        "architecture": cfg.MODEL.META_ARCHITECTURE,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "train": "+".join(cfg.DATASETS.TRAIN),
        "test": "+".join(cfg.DATASETS.TEST),
        "task_max": f"{former.TEST.TASK}/{former.TEST.MAX_NUM}",
        "queries": str(former.NUM_OBJECT_QUERIES),
        "frames_range": f"{inputs.SAMPLING_FRAME_NUM}/{inputs.SAMPLING_FRAME_RANGE}",
        "iterations_batch": f"{cfg.SOLVER.MAX_ITER}@{cfg.SOLVER.IMS_PER_BATCH}",
        "test_size": str(inputs.MIN_SIZE_TEST),
        "noise": f"{cfg.MODEL.TRACKER.NOISE_MODE}/{cfg.MODEL.TRACKER.NOISE_RATIO}",
        "contrast": f"{cfg.MODEL.TRACKER.USE_CL:d}{cfg.MODEL.REFINER.USE_CL:d}",
    }


def expected_of(row):
    """The line with our names; MinVIS and CTVIS keep 10 pairs in the official code, whatever their files say."""
    mode, _, ratio = row["noise"].partition("/")
    task, _, most = row["task_max"].partition("/")
    expected = {key: value for key, value in row.items() if key not in ("file", "base")} | {
        "architecture": NAMES["MODEL.META_ARCHITECTURE"][row["architecture"]],
        "backbone": NAMES["MODEL.BACKBONE.NAME"].get(row["backbone"], row["backbone"]),
        "noise": f"{NAMES['MODEL.TRACKER.NOISE_MODE'][mode]}/{ratio}",
    }
    return expected | {"task_max": f"{task}/{10 if 'MinVIS' in row['architecture'] else most}"}


def test_rows__all__have_the_published_values(configs, published):
    """Catches a wrong data set, size, number of queries, frames, iterations, batch, noise or contrast in any row."""
    for name, cfg in configs.items():
        if name not in UNPUBLISHED:
            assert values_of(cfg) == expected_of(published[official_name(name)]), name


def test_rows__all__have_the_published_rates(configs):
    """Catches a learning rate, its drops, a warm-up or a weight decay that differ from the paper's recipe."""
    for name, cfg in configs.items():
        dataset, _, file = name.partition("/")
        stage, backbone = file.split("_")[:2]
        large = backbone != "r50" and stage == "ctvis" and dataset in INSTANCES
        solver = cfg.SOLVER
        if (stage, dataset in INSTANCES) != ("minvis", False):  # its drop is not published
            rate, drops = RATES[stage, dataset in INSTANCES, large]
            assert (solver.BASE_LR, tuple(solver.STEPS)) == (rate, LONG.get(name, drops)), name
        assert max(solver.STEPS) < solver.MAX_ITER, name
        assert (solver.WARMUP_ITERS, solver.WARMUP_FACTOR, solver.GAMMA) == (10, 1.0, 0.1)
        assert (solver.WEIGHT_DECAY, solver.BACKBONE_MULTIPLIER, solver.OPTIMIZER) == (0.05, 0.1, "ADAMW")
        assert (solver.CLIP_GRADIENTS.CLIP_TYPE, solver.CLIP_GRADIENTS.CLIP_VALUE) == ("full_model", 0.01)
        assert solver.AMP.ENABLED


def test_rows__all__have_the_published_augmentation(configs):
    """Catches sizes and crops of video instances in panoptic recipes, and clips that are not reversed offline."""
    for name, cfg in configs.items():
        inputs, offline = cfg.INPUT, "/offline" in name
        sizes = inputs.MIN_SIZE_TRAIN
        assert offline == inputs.REVERSE_AGU
        if name.startswith(INSTANCES):
            assert sizes == (320, 352, 392, 416, 448, 480, 512, 544, 576, 608, 640) == inputs.PSEUDO.MIN_SIZE_TRAIN
            assert (inputs.MAX_SIZE_TRAIN, inputs.PSEUDO.MAX_SIZE_TRAIN) == (768, 768)
            assert (inputs.CROP.ENABLED, inputs.PSEUDO.CROP.ENABLED, inputs.PSEUDO.CROP.SIZE) == (True, True, (384, 600))
            assert (inputs.MIN_SIZE_TRAIN_SAMPLING, inputs.RANDOM_FLIP) == ("choice_by_clip", "flip_by_clip")
            assert cfg.DATASETS.DATASET_RATIO == [1.0, 1.0]
            assert video_augmentation_from_config(inputs)
            assert pseudo_augmentation_from_config(inputs)
        else:
            assert (min(sizes), max(sizes), inputs.MAX_SIZE_TRAIN) == (480, 800, 1333)
            assert offline == inputs.CROP.ENABLED, name
            assert video_map_augmentation_from_config(inputs)


def test_configs__every_file__names_data_sets_that_are_known(root):
    """Catches a misspelt data set, a kind it does not have, lists of different length, and a wrong number of classes."""
    for path in sorted((root / "configs").rglob("*.yaml")):
        cfg = load_config(path)
        sets = cfg.DATASETS
        if len(sets.TRAIN) > 1:
            assert len(sets.DATASET_RATIO) == len(sets.DATASET_NEED_MAP) == len(sets.DATASET_TYPE) == len(sets.TRAIN), path
            assert sets.DATASET_NEED_MAP[-1] is False
        trained, tested = (
            [find_dataset(name, kind) for name, kind in with_kinds(names, kinds)]
            for names, kinds in ((sets.TRAIN, sets.DATASET_TYPE), (sets.TEST, sets.DATASET_TYPE_TEST))
        )
        if cfg.MODEL.META_ARCHITECTURE == "OpenVocabularyDetector" and tested:  # is tested with words that it never learnt
            assert set(trained[-1].category_names) <= set(tested[0].category_names), path
            tested = []
        for source in [*trained[-1:], *tested]:
            if source.category_names:  # pictures without labels have none
                counts = class_count(cfg), cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES  # parts of a row name no architecture
                assert len(source.category_names) in counts, path
    assert find_dataset("panoVSPW_vps_video_train", "video_panoptic").category_names is not None


@functools.cache
def bases(path):
    given = yaml.safe_load(path.read_text(encoding="utf-8")).get("_BASE_", [])
    return [path.parent / name for name in ([given] if isinstance(given, str) else given)]


def depth(path):
    return max((1 + depth(base) for base in bases(path)), default=0)


def test_rows__files__stand_on_two_levels_and_each_part_once(root):
    """Catches chains nobody can follow, and a part that a second mention puts over what stands above it."""
    for name, path in rows_of(root).items():
        assert 1 <= depth(path) <= 2, name
        waiting, seen = [path], []
        while waiting:
            seen.append(waiting.pop())
            waiting += bases(seen[-1])
        assert len(seen) == len({file.resolve() for file in seen}), name


def test_rows__comments_and_table__name_the_stage_before(root):
    """Catches a file without its comment, a row missing in the table, and a stage before that does not exist."""
    table = (root / "configs" / "dvis" / "README.md").read_text(encoding="utf-8")
    rows = rows_of(root)
    for name, path in rows.items():
        comment = "".join(re.findall(r"^# ?(.*\n)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert f"| `{name}.yaml` |" in table, name
        (before,) = re.findall(r"^MODEL\.WEIGHTS: (.*)$", comment, re.MULTILINE)
        named = re.findall(r"[\w/]+(?=\.yaml)", before)
        assert bool(named) != ("Mask2Former" in before), name
        for file in named:
            assert (file if "/" in file else f"{path.parent.name}/{file}") in rows, name
    assert set(re.findall(r"\| `(\w+/\w+)\.yaml` \|", table)) == set(rows)
