"""Lists of official keys and shapes: the model of our configuration of the same name takes each of them and gives it back."""

import json
import math
from pathlib import Path

import pytest
import torch

from dense import build_model, load_checkpoint, load_config
from dense.checkpoint.converting import layout, recognise
from dense.errors import CheckpointError

pytestmark = pytest.mark.golden

WHOLE = "DVIS_Plus_Offline_R50_ytvis19"  # each stage's keys are those of the stage before and a few more
IN_THE_REPOSITORY = {  # our configuration → list of keys, and the parts of it that this stage lacks
    "ytvis19/minvis_r50": ("MinVIS_R50_ytvis19", ()),
    "ytvis19/ctvis_r50": (WHOLE, ("tracker.", "refiner.")),
    "ytvis19/online_r50": (WHOLE, ("refiner.",)),
    "ytvis19/offline_r50": (WHOLE, ()),
    "ovis/online_swinl": ("DVIS_Plus_Online_SwinL_ovis", ()),
    "vipseg/offline_vitl": ("DVIS_Plus_Offline_VitAdapterL_vipseg", ()),
}
ALL = {  # official list of keys → our configurations of that name
    "CTVIS_R50_vipseg": ["vipseg/ctvis_r50"],
    "CTVIS_R50_ytvis19": ["ytvis19/ctvis_r50"],
    "DVIS_Plus_Offline_R50_ovis": ["ovis/offline_r50"],
    "DVIS_Plus_Offline_R50_vipseg": ["vipseg/offline_r50"],
    "DVIS_Plus_Offline_R50_ytvis19": ["ytvis19/offline_r50"],
    "DVIS_Plus_Offline_VitAdapterL_vipseg": ["vipseg/offline_vitl"],
    "DVIS_Plus_Online_R50_ovis": ["ovis/online_r50", "ovis/online_r50_long"],
    "DVIS_Plus_Online_R50_vipseg": ["vipseg/online_r50"],
    "DVIS_Plus_Online_R50_vspw": ["vspw/online_r50"],
    "DVIS_Plus_Online_R50_ytvis19": ["ytvis19/online_r50", "ytvis19/online_r50_long"],
    "DVIS_Plus_Online_SwinL_ovis": ["ovis/online_swinl"],
    "DVIS_Plus_Online_VitAdapterL_ytvis19": ["ytvis19/online_vitl"],
    "MinVIS_R50_ytvis19": ["ytvis19/minvis_r50"],
}


def build(root, name):
    """The model of ``configs/dvis/<name>.yaml`` without memory for its weights."""
    file = root / "configs" / "dvis" / f"{name}.yaml"
    with torch.device("meta"):
        return build_model(load_config(file, ["MODEL.DEVICE", "meta", "MODEL.VIT_ADAPTER.VIT_WEIGHT", ""]))


def state_dict(manifest):
    """Tensors of these shapes, each a window on the same row of rising numbers: a gigabyte of model in a few megabytes."""
    sizes = [math.prod(shape) for shape in manifest.values()]
    row = torch.arange(max(sizes) + len(sizes), dtype=torch.float32)
    windows = (row[i : i + size] for i, size in enumerate(sizes))
    return {key: window.view(shape) for window, (key, shape) in zip(windows, manifest.items(), strict=True)}


def check_in_and_out(manifest, model):
    """Strict loading of official keys; then names, shapes and values there and back."""
    theirs = state_dict(manifest)
    report = load_checkpoint(model, theirs, strict=True)
    assert set(report.loaded) == set(manifest)
    assert not report.dropped
    assert not report.resized
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == manifest

    assert recognise(theirs).name == "official"
    ours = layout("official").to_ours(theirs)
    assert set(ours.tensors) == set(model.state_dict())
    back = layout("official").from_ours(ours.tensors)
    assert [*ours.dropped, *back.dropped] == []
    assert {key: list(value.shape) for key, value in back.tensors.items()} == manifest
    for i, (key, shape) in enumerate(manifest.items()):
        values = back.tensors[key].reshape(-1)
        assert (values[0].item(), values[-1].item()) == (i, i + math.prod(shape) - 1), key


@pytest.mark.parametrize("name", IN_THE_REPOSITORY)
def test_official_keys__our_configuration__in_and_out_nothing_missing_nothing_left(golden, root, name):
    """Catches a key or shape that differs in either direction for each stage and each backbone."""
    file, lacking = IN_THE_REPOSITORY[name]
    manifest = json.loads(golden(f"manifests/{file}.json").read_text(encoding="utf-8"))
    check_in_and_out({key: shape for key, shape in manifest.items() if not key.startswith(lacking)}, build(root, name))


@pytest.mark.parametrize("official", ALL)
def test_official_keys__every_list__in_and_out_nothing_missing_nothing_left(shared, root, official):
    """As above with every published model, whose lists are not all part of the repository."""
    listed = json.loads((shared / "specs" / "manifests" / f"{official}.json").read_text(encoding="utf-8"))
    assert listed["num_keys"] == len(listed["state_dict"])
    for name in ALL[official]:
        check_in_and_out(listed["state_dict"], build(root, name))


def test_official_keys__lists__none_is_passed_over(shared):
    """Catches a published model of the three families that nobody compares, and a copy that differs from its source."""
    folder = shared / "specs" / "manifests"
    families = ("CTVIS_", "DVIS_Plus_", "MinVIS_")
    assert {path.stem for path in folder.glob("*.json") if path.stem.startswith(families)} == set(ALL)
    for copy in (Path(__file__).parents[2] / "golden" / "manifests").glob("*_*_*_*.json"):
        assert json.loads(copy.read_text()) == json.loads((folder / copy.name).read_text())["state_dict"], copy.name


@pytest.mark.parametrize("change", ["missing", "unused", "shape"])
def test_check_in_and_out__one_key_wrong__fails(golden, root, change):
    """Catches a comparison that passes whatever the lists say."""
    manifest = json.loads(golden("manifests/MinVIS_R50_ytvis19.json").read_text(encoding="utf-8"))
    last = list(manifest)[-1]
    if change == "missing":
        del manifest[last]
    else:
        manifest[last if change == "shape" else "sem_seg_head.more"] = [3]
    with pytest.raises(CheckpointError, match="does not fit exactly"):
        check_in_and_out(manifest, build(root, "ytvis19/minvis_r50"))


RECIPES = [(dataset, backbone) for dataset in ("ytvis19", "ytvis21", "ovis", "vipseg", "vspw") for backbone in ("r50", "vitl")]
ADDED = {"ctvis": 6, "online": 126, "offline": 192}  # keys of the re-identification head, the tracker, the refiner


@pytest.mark.parametrize(("dataset", "backbone"), [*RECIPES, ("ovis", "swinl"), ("ytvis22", "vitl")])
def test_stages__weights_of_the_stage_before__all_fit(root, dataset, backbone):
    """Catches a row that is not built, and stages that differ in size: the next would silently train over half a model."""
    files = [path.stem for path in (root / "configs" / "dvis" / dataset).glob(f"*_{backbone}*.yaml")]
    before = {}
    for stage in ("minvis", "ctvis", "online", "offline"):
        rows = [
            {key: tuple(value.shape) for key, value in build(root, f"{dataset}/{file}").state_dict().items()}
            for file in files
            if file.startswith(stage)
        ]
        for now in rows:
            assert before.items() <= now.items()
            assert not before or len(now) - len(before) == ADDED[stage]
            assert now == rows[0]  # variants of one stage
        before = rows[0] if rows else before
    classes = {"ovis": 25, "vipseg": 124, "vspw": 124}.get(dataset, 40)
    assert before["sem_seg_head.predictor.class_embed.weight"] == (classes + 1, 256)
