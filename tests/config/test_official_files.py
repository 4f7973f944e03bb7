"""Every file of the official repositories, rebuilt in their style from what is known about it, loads to the same values.

``official_files.tsv`` lists each file's base and effective values; here each file is written with only what it changes over its
base, so that the chains of ``_BASE_`` are walked as with the originals.
"""

import csv
import json
import logging
import posixpath

import pytest
import torch
from detectron2.modeling import build_backbone

from dense import load_config
from dense.config.official import NAMES
from dense.errors import ConfigError
from dense.modeling.builder import build_model
from dense.projects.dvis import VideoSegmenter
from dense.projects.dvis.contrast import TrackletContrast

SWIN_L = {"EMBED_DIM": 192, "DEPTHS": [2, 2, 18, 2], "NUM_HEADS": [6, 12, 24, 48], "WINDOW_SIZE": 12, "APE": False}


def quoted(words):
    """Tuples as the official files write them: text."""
    return '"({},)"'.format(", ".join(f"'{word}'" for word in words))


def keys_of(row):
    """Dotted key → YAML text, and the value it stands for."""
    task, maximum = row["task_max"].split("/")
    frames, reach = map(int, row["frames_range"].split("/"))
    iterations, batch = map(int, row["iterations_batch"].split("@"))
    noise, ratio = row["noise"].split("/")
    backbone, _, clip = row["backbone"].partition(":")
    train, test = (tuple(row[part].split("+")) for part in ("train", "test"))
    contrast = [bit == "1" for bit in row["contrast"]]
    plain = {
        "MODEL.META_ARCHITECTURE": row["architecture"],
        "MODEL.BACKBONE.NAME": backbone,
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": "MSDeformAttnPixelDecoder",
        "MODEL.MASK_FORMER.ENC_LAYERS": 0,
        "MODEL.MASK_FORMER.TEST.TASK": task,
        "MODEL.MASK_FORMER.TEST.MAX_NUM": int(maximum),
        "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": int(row["queries"]),
        "MODEL.TRACKER.NOISE_MODE": noise,
        "MODEL.TRACKER.NOISE_RATIO": float(ratio),
        "MODEL.TRACKER.USE_CL": contrast[0],
        "MODEL.REFINER.USE_CL": contrast[1],
        "INPUT.SAMPLING_FRAME_NUM": frames,
        "INPUT.SAMPLING_FRAME_RANGE": reach,
        "INPUT.MIN_SIZE_TEST": int(row["test_size"]),
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.IMS_PER_BATCH": batch,
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "full_model",
    }
    if backbone == "D2SwinTransformer":
        plain |= {f"MODEL.SWIN.{key}": value for key, value in SWIN_L.items()}
    if backbone == "D2VitAdapterDinoV2":
        plain |= {"MODEL.VIT_ADAPTER.NAME": "vitl", "MODEL.VIT_ADAPTER.FREEZE_VIT": True}
    if clip:
        plain |= {"MODEL.FC_CLIP.CLIP_MODEL_NAME": clip, "DATASETS.TEST2TRAIN": [test[0]]}
    if "DAQ" in row["architecture"]:
        plain |= {"MODEL.VIDEO_HEAD.NUM_NEW_INS": 10, "MODEL.VIDEO_HEAD.SKIP_PARAMS": []}
    texts = {key: str(value) for key, value in plain.items()}
    return texts | {"DATASETS.TRAIN": quoted(train), "DATASETS.TEST": quoted(test)}, plain | {
        "DATASETS.TRAIN": train,
        "DATASETS.TEST": test,
    }


def lookup(cfg, dotted):
    for part in dotted.split("."):
        cfg = cfg[part]
    return cfg


@pytest.fixture(scope="module")
def files(root, tmp_path_factory):
    """All files written; path and expected values of each, by name."""
    folder = tmp_path_factory.mktemp("official")
    with (root / "tests" / "data" / "configs" / "official_files.tsv").open(encoding="utf-8", newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream, delimiter="\t")}
    written = {}
    for name, row in rows.items():
        texts, values = keys_of(row)
        lines = []
        if row["base"] != "-":
            lines.append(f"_BASE_: {row['base']}")
            inherited, _ = keys_of(rows[posixpath.normpath(posixpath.join(posixpath.dirname(name), row["base"]))])
            texts = {key: text for key, text in texts.items() if inherited.get(key) != text}
        nested = {}
        for key, text in texts.items():
            *parents, last = key.split(".")
            node = nested
            for part in parents:
                node = node.setdefault(part, {})
            node[last] = text
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*lines, *as_yaml(nested), "VERSION: 2", ""]), encoding="utf-8")
        written[name] = (path, values)
    return written


def as_yaml(nested, depth=0):
    for key, value in nested.items():
        yield f"{'  ' * depth}{key}:" + ("" if isinstance(value, dict) else f" {value}")
        if isinstance(value, dict):
            yield from as_yaml(value, depth + 1)


def test_load_config__every_official_file__effective_values(files):
    """Catches keys that are not accepted, bases merged in the wrong order, and names that are not translated."""
    assert len(files) == 143
    for name, (path, values) in files.items():
        cfg = load_config(path)
        for key, value in values.items():
            wanted = NAMES.get(key, {}).get(value, value) if isinstance(value, str) else value
            if key == "MODEL.MASK_FORMER.TEST.MAX_NUM" and values["MODEL.META_ARCHITECTURE"] in ("MinVIS", "CTMinVIS"):
                wanted = 10  # fixed in the official code
            assert lookup(cfg, key) == wanted, f"{name}: {key}"


def test_load_config__keys_without_effect__are_listed_for_an_heir(files, caplog):
    """Catches a list that forgets keys set by a base."""
    path, _ = files["dvis_Plus/ovis/DVIS_Plus_Offline_R50.yaml"]
    assert "ENC_LAYERS" not in path.read_text(encoding="utf-8")
    with caplog.at_level(logging.INFO, logger="dense.config.loading"):
        load_config(path)
    assert "MODEL.MASK_FORMER.ENC_LAYERS" in caplog.text


def test_load_config__base_that_does_not_exist__names_both(files):
    """Catches a foreign error on the one official file whose base is missing upstream as well."""
    folder = files["dvis_Plus/VIPSeg/MinVIS_R50.yaml"][0].parent
    path = folder / "vit_adapter" / "broken.yaml"
    path.write_text("_BASE_: ../MinVIS_R50_720p.yaml\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"MinVIS_R50_720p\.yaml.*broken\.yaml"):
        load_config(path)


def test_build_model__part_that_is_not_here__is_named(files):
    """Catches an official file that loads and then fails deep inside a registry."""
    path, _ = files["dvis_daq/ovis/DAQ_Online_R50.yaml"]
    with pytest.raises(ConfigError, match=r"MODEL\.META_ARCHITECTURE: unknown 'DVIS_DAQ_online'"):
        build_model(load_config(path, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""]))


PARTS = {  # what every official file of a segmenter says and the table leaves out
    "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.NORM": "GN",
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME": "VideoMultiScaleMaskedTransformerDecoder_dvisPlus",
    "MODEL.DEVICE": "meta",
    "MODEL.WEIGHTS": "",
}


@pytest.mark.parametrize("folder", ["ytvis19", "ytvis21", "ovis", "VIPSeg", "VSPW"])
def test_build_model__official_ctvis__segmenter_that_trains_by_contrast(files, folder):
    """Catches an official CTVIS file that loads and does not build, or builds without its contrastive objective."""
    name = "CTVIS_r50" if folder == "VIPSeg" else "CTVIS_R50"
    options = [word for pair in PARTS.items() for word in pair]
    with torch.device("meta"):
        model = build_model(load_config(files[f"dvis_Plus/{folder}/{name}.yaml"][0], options))
    assert type(model) is VideoSegmenter
    assert type(model.contrast) is TrackletContrast
    assert model.contrast.weights == {"loss_reid": 2.0, "loss_aux_reid": 3.0}
    assert model.sem_seg_head.predictor.reid_embed is not None
    if folder == "VIPSeg":  # its 58 things come first; known from the name of its data set
        assert model.results.things == frozenset(range(58))


def test_build_model__official_minvis__no_contrast(files):
    """Catches an objective for every segmenter, because the official default of its name is never empty."""
    decoder = ["MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", "VideoMultiScaleMaskedTransformerDecoder_minvis"]
    with torch.device("meta"):
        options = [*(word for pair in PARTS.items() for word in pair), *decoder]
        model = build_model(load_config(files["dvis_Plus/ytvis19/MinVIS_R50.yaml"][0], options))
    assert model.contrast is None


def is_vit(values):
    return values["MODEL.BACKBONE.NAME"] == "D2VitAdapterDinoV2"


def test_build_backbone__every_official_vit_file__asks_for_the_same_network(files, golden):
    """Catches official ViT-L files that load and whose backbone has other names than published checkpoints."""
    settings = []
    for path, values in files.values():
        if is_vit(values):
            node = load_config(path).MODEL
            assert node.BACKBONE.NAME == "ViTAdapterBackbone"
            settings.append(node.VIT_ADAPTER)
    assert len(settings) == 29
    assert all(node == settings[0] for node in settings)
    path = files["dvis_Plus/VIPSeg/vit_adapter/DVIS_Plus_Offline_VitAdapterL.yaml"][0]
    with torch.device("meta"):
        backbone = build_backbone(load_config(path, ["MODEL.VIT_ADAPTER.VIT_WEIGHT", ""]))
    manifest = json.loads(golden("manifests/VitAdapterL_backbone.json").read_text(encoding="utf-8"))
    assert {f"backbone.{k}": list(v.shape) for k, v in backbone.state_dict().items()} == manifest


def test_build_model__minvis_with_the_official_vit_values__is_built(files, root):
    """Catches a head that does not fit the four maps of equal width (shapes only); the head's keys are those of our file."""
    _, values = files["dvis_Plus/ytvis19/vit_adapter/MinVIS_VitAdapterL.yaml"]
    options = ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", "", "MODEL.VIT_ADAPTER.VIT_WEIGHT", ""]
    for key, value in values.items():
        if key.startswith(("MODEL.BACKBONE.", "MODEL.VIT_ADAPTER.", "MODEL.MASK_FORMER.NUM")):
            options += [key, value]
    with torch.device("meta"):
        model = build_model(load_config(root / "configs" / "dvis" / "ytvis19" / "minvis_r50.yaml", options))
    weights = model.state_dict()
    assert weights["sem_seg_head.predictor.query_feat.weight"].shape == (200, 256)
    assert weights["sem_seg_head.pixel_decoder.input_proj.0.0.weight"].shape == (256, 1024, 1, 1)
    assert not any(p.requires_grad for name, p in model.named_parameters() if "vit_module" in name)
