"""``cache_segmenter.py`` and training from its cache, on a tiny world."""

import pytest
import torch

from dense import build_model, load_config
from dense.checkpoint.writing import save_weights
from dense.data.loaders import train_loader_from_config
from dense.data.world import make_video_world
from dense.engine.command import main as train
from dense.errors import ConfigError
from dense.projects.dvis.caching import main as cache

CONFIG = "tests/data/configs/tiny.yaml"
STAGE = [
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME",
    "ReidentifyingDecoder",
    *("MODEL.MASK_FORMER.REID_HIDDEN_DIM", "32", "MODEL.TRACKER.DECODER_LAYERS", "1", "MODEL.REFINER.DECODER_LAYERS", "1"),
    *("INPUT.SAMPLING_FRAME_NUM", "3", "INPUT.SAMPLING_FRAME_RANGE", "1", "INPUT.MIN_SIZE_TRAIN", "(48,64)"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, root):
    """Folder with a world, weights of a segmenter, and two caches of it."""
    folder = tmp_path_factory.mktemp("caching")
    make_video_world(folder / "data" / "world", 3, 4, 1, 4, (48, 80), workers=1, frame_step=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(folder / "data"))
        torch.manual_seed(1)
        model = build_model(load_config(root / CONFIG, options(folder, "OnlineVideoSegmenter")[:-2]))
        save_weights(folder / "segmenter.safetensors", model.state_dict())
        for precision in ("float16", "float32"):
            assert run_cache(root, folder, precision) == 0
        yield folder


def options(folder, architecture):
    return ["MODEL.META_ARCHITECTURE", architecture, *STAGE, "MODEL.WEIGHTS", str(folder / "segmenter.safetensors")]


def run_cache(root, folder, name, *extra, copies="2", architecture="OnlineVideoSegmenter"):
    precision = name if name.startswith("float") else "float16"
    known = ["--config-file", str(root / CONFIG), "--output", str(folder / name), "--copies", copies, "--precision", precision]
    return cache([*known, *options(folder, architecture), *extra])


def first_losses(root, folder, architecture, cached, *extra, batch=2, epoch=0):
    """Losses of the first step of an epoch (2 steps of 2 clips make one)."""
    keys = ["DATASETS.CACHE", cached and str(folder / cached), "SOLVER.IMS_PER_BATCH", batch]
    cfg = load_config(root / CONFIG, [*options(folder, architecture), *keys, *extra])
    torch.manual_seed(0)
    model = build_model(cfg).train()
    loader = train_loader_from_config(cfg, epoch * 4 // batch)
    clips = next(loader)
    torch.manual_seed(0)
    return clips, {name: loss.item() for name, loss in model(clips).items()}


@pytest.mark.parametrize("architecture", ["OnlineVideoSegmenter", "OfflineVideoSegmenter"])
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 2e-3)])
def test_training__from_a_cache__losses_equal_the_live_ones(root, place, architecture, epoch, precision, tolerance):
    """Catches copies, clips, targets or predictions that are not those of a training without cache."""
    clips, cached = first_losses(root, place, architecture, precision, epoch=epoch)
    assert all("queries" in clip and "image" not in clip for clip in clips)
    live_clips, live = first_losses(root, place, architecture, "", epoch=epoch)
    assert [clip["file_names"] for clip in clips] == [clip["file_names"] for clip in live_clips]
    assert cached == pytest.approx(live, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("INPUT.SAMPLING_FRAME_NUM", 2), "SAMPLING_FRAME_NUM 3, now 2"),
        (("INPUT.RANDOM_FLIP", "none"), "RANDOM_FLIP"),
        (("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 12), "NUM_OBJECT_QUERIES"),
        (("DATASETS.TRAIN", ("world_valid",)), "DATASETS.TRAIN"),
    ],
)
def test_training__stale_cache__is_refused_with_the_reason(root, place, change, message):
    """Catches a cache that no longer fits what is trained."""
    with pytest.raises(ConfigError, match=message):
        first_losses(root, place, "OnlineVideoSegmenter", "float16", *change)


@pytest.mark.parametrize("change", [("SEED", 5), ("MODEL.TRACKER.NOISE_MODE", "WeightedAverage"), ("SOLVER.BASE_LR", 0.1)])
def test_training__what_does_not_matter_changed__cache_is_used(root, place, change):
    """Catches a cache that is refused for a learning rate."""
    first_losses(root, place, "OnlineVideoSegmenter", "float16", *change)


def test_training__other_segmenter__is_refused(root, place, tmp_path):
    """Catches queries of one segmenter that train the tracker of another."""
    torch.manual_seed(9)
    other = build_model(load_config(root / CONFIG, options(place, "OnlineVideoSegmenter")[:-2]))
    save_weights(tmp_path / "other.safetensors", other.state_dict())
    with pytest.raises(ConfigError, match="another segmenter"):
        first_losses(root, place, "OnlineVideoSegmenter", "float16", "MODEL.WEIGHTS", str(tmp_path / "other.safetensors"))


def test_training__whole_run_from_a_cache__tracker_learns_and_the_model_is_scored(root, place, tmp_path):
    """Catches a run that needs images in training, or cached clips in scoring."""
    keys = ["DATASETS.CACHE", str(place / "float16"), "OUTPUT_DIR", str(tmp_path), "SOLVER.CHECKPOINT_PERIOD", "4"]
    arguments = ["--config-file", str(root / CONFIG), *options(place, "OnlineVideoSegmenter"), *keys]
    assert train(arguments) == 0
    assert (tmp_path / "model_final.safetensors").is_file()
    assert (tmp_path / "inference" / "results.json").is_file()


def test_command__wrong_input__one_line(root, place, capsys):
    """Catches foreign frames, and a cache of a model without frozen segmenter."""
    assert run_cache(root, place, "none", copies="0") == 1
    assert "expected 1 or more" in capsys.readouterr().err
    assert run_cache(root, place, "none", architecture="VideoSegmenter") == 1
    assert "tracker or a refiner" in capsys.readouterr().err
    assert run_cache(root, place, "float16", copies="3") == 1
    assert "other settings" in capsys.readouterr().err
    assert run_cache(root, place, "float16") == 0  # complete: nothing to do
