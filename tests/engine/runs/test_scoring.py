"""evaluate_model: a model that knows the answer must get 100; sets, folders and files."""

import json

import pytest
import torch
from torch import nn

from dense.config.loading import load_config
from dense.data.datasets import resolve_dataset
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.errors import DataError
from dense.modeling.video import QueryWindow
from dense.structures.rle import decode

SIZE = (64, 96)


class Oracle(nn.Module):
    """Answers with the ground truth of the data set's videos, in the order in which they are asked for."""

    window = 3

    def __init__(self, dataset, classes):
        super().__init__()
        self.dataset, self.classes, self.videos = dataset, classes, iter(dataset.videos)

    def start(self):
        return next(self.videos), 0

    def step(self, frames, state):
        video, first = state
        assert all(tuple(f.shape) == (3, *SIZE) for f in frames)
        masks = torch.full((len(video.tracks) + 1, len(frames), *SIZE), -9.0)
        logits = torch.full((len(video.tracks) + 1, self.classes + 1), -20.0)
        logits[:, -1] = 20.0
        for q, track in enumerate(video.tracks):
            logits[q, -1], logits[q, self.dataset.contiguous_id(track.category_id)] = -20.0, 20.0
            for t in range(len(frames)):
                rle = track.segmentations[first + t]
                if rle is not None:
                    masks[q, t] = torch.from_numpy(decode(rle)).float() * 18 - 9
        return QueryWindow(logits.expand(len(frames), -1, -1), masks, SIZE, SIZE), (video, first + len(frames))


@pytest.fixture
def configured(tiny_data, monkeypatch, tmp_path):
    """Function from KEY VALUE words to a configuration over the tiny world."""
    from pathlib import Path

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_data))
    tiny = Path(__file__).resolve().parents[2] / "data" / "configs" / "tiny.yaml"
    return lambda *words: load_config(tiny, ["OUTPUT_DIR", str(tmp_path), *words])


def test_evaluate_model__model_that_knows_the_answer__gets_100(configured, tmp_path):
    """Catches frames out of order, categories shifted by one, masks of another size, and videos mixed up."""
    dataset = resolve_dataset_of(configured())
    figures = evaluate_model(configured(), Oracle(dataset, 14), Process())
    assert figures["AP"] == pytest.approx(100.0)
    assert figures["AR10"] == pytest.approx(100.0)
    results = json.loads((tmp_path / "inference" / "results.json").read_text())
    assert [r["video_id"] for r in results] == sorted(r["video_id"] for r in results)


def test_evaluate_model__several_sets__each_has_folder_and_prefix(configured, tmp_path):
    """Catches a second set that overwrites the first one's results and figures."""
    cfg = configured("DATASETS.TEST", '("world_valid", "world_train")')
    both = [resolve_dataset(name).read() for name in cfg.DATASETS.TEST]
    oracle = Oracle(both[0], 14)
    oracle.videos = iter([*both[0].videos, *both[1].videos])
    figures = evaluate_model(cfg, oracle, Process())
    assert figures["world_valid/AP"] == pytest.approx(100.0)
    assert figures["world_train/AP"] == pytest.approx(100.0)
    assert all((tmp_path / "inference" / name / "results.json").is_file() for name in cfg.DATASETS.TEST)


def test_evaluate_model__model_with_more_classes_than_the_set__is_one_line(configured):
    """Catches an IndexError, or categories given to the wrong names."""
    dataset = resolve_dataset_of(configured())
    oracle = Oracle(dataset, 20)
    with pytest.raises(DataError, match="label"):
        evaluate_model(configured(), oracle, Process())


def resolve_dataset_of(cfg):
    return resolve_dataset(cfg.DATASETS.TEST[0]).read()
