"""Readers of checkpoints: five formats, training states to continue from, what a weights file says of itself."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from dense.checkpoint import load_checkpoint
from dense.checkpoint.reading import read_checkpoint, read_metadata, read_state_dict
from dense.engine.state import Checkpoints

from .byte_mutations import mutate_bytes
from .file_mutations import mutate_pickle, mutate_safetensors, mutate_torch
from .invariants import LARGEST_INTEGER, check_integer, check_tensors, check_text, require
from .reader import Reader, Sample

__all__ = ["WEIGHT_READERS"]


def _model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def _saved(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _safetensors(folder: Path) -> list[Sample]:
    tensors = {**_model().state_dict(), "half": torch.zeros(2, 2).half(), "empty": torch.zeros(0, 3)}
    return [
        Sample(
            ".safetensors",
            save(tensors, {"config": "SEED: 1\nMODEL: {MASK_FORMER: {DROPOUT: 0.1}}", "categories": '["cat", "dog"]'}),
        )
    ]


def _torch(folder: Path) -> list[Sample]:
    state = _model().state_dict()
    wrapped = {"model": {**state, "other": torch.arange(6).view(2, 3).t()}, "iteration": 7, "names": ["a", ("b", None, 1.5)]}
    return [
        Sample(".pth", _saved(state)),
        Sample(".pth", _saved(wrapped)),
        Sample(".pth", _saved(wrapped, _use_new_zipfile_serialization=False)),
    ]


def _pickles(folder: Path) -> list[Sample]:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">i4"),
        "names": np.array(["x", "y"]),
    }
    content = {"model": OrderedDict(arrays), "iteration": np.int64(7), "list": [1, (2.5, None)], "__author__": "x"}
    return [Sample(".pkl", pickle.dumps(content, protocol=protocol)) for protocol in (0, 2, 4, 5)]


def _archives(folder: Path) -> list[Sample]:
    arrays = {
        "a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "f": np.asfortranarray(np.eye(3)),
        "text": np.array("x"),
    }
    samples = []
    for write in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        write(stream, **arrays)
        samples.append(Sample(".npz", stream.getvalue()))
    return samples


def _flax(folder: Path) -> list[Sample]:
    """Files that Flax wrote."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "flax"
    return [Sample(".msgpack", path.read_bytes()) for path in sorted(golden.glob("*.msgpack"))]


def _read_weights(path: Path) -> None:
    tensors = read_state_dict(path)
    require(bool(tensors), "no tensor and no error")
    check_tensors(tensors, path)
    model = _model()
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    report = load_checkpoint(model, path)
    require(bool(report.loaded), "nothing loaded and no error")
    require({key: value.shape for key, value in model.state_dict().items()} == shapes, "shapes of the model changed")


def _read_pickle(path: Path) -> None:
    read_checkpoint(path)
    check_tensors(read_state_dict(path), path)


class _Run:
    """What a trainer continues: model, optimizer, schedule."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = _model()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, [2, 5])

    def step(self) -> None:
        self.model(torch.ones(4, 2)).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}


def _states(folder: Path) -> list[Sample]:
    run = _Run()
    run.step()
    state = {name: part.state_dict() for name, part in run.parts().items()}
    return [Sample(".pth", _saved({**state, "step": 1}))]


def _read_state(path: Path) -> None:
    content = path.read_bytes()
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    (folder / "model_0000001.pth").write_bytes(content)
    (folder / "last_checkpoint").write_text("model_0000001.pth", encoding="utf-8")
    run = _Run()
    place, step = Checkpoints(folder).load_last(run.parts())
    require(place.name == "model_0000001.pth", f"read {place}")
    check_integer(step, "step", 0)
    check_tensors(run.model.state_dict(), place)
    run.step()  # a state that was taken can be continued
    require(all(isinstance(group["lr"], float) for group in run.optimizer.param_groups), "learning rate is no number")


def _pointers(folder: Path) -> list[Sample]:
    run = folder / "run"
    run.mkdir()
    (run / "model_0000001.pth").write_bytes(b"x")
    return [Sample(".txt", b"model_0000001.pth"), Sample(".txt", b"1")]


def _read_pointers(path: Path) -> None:
    run = path.parent / "run"
    for name in ("last_checkpoint", "last_evaluation"):
        (run / name).write_bytes(path.read_bytes())
    checkpoints = Checkpoints(run)
    require([p.name for p in checkpoints.newest_first()] == ["model_0000001.pth"], "the checkpoint is lost")
    require(checkpoints.is_evaluated(1) in (True, False), "no answer")
    checkpoints.remove_leftovers()


def _read_metadata(path: Path) -> None:
    from dense.inference.model_source import config_inside, names_inside

    metadata = read_metadata(path)
    require(all(type(k) is str and type(v) is str for k, v in metadata.items()), f"metadata {metadata!r:.60}")
    for name in names_inside(metadata, path):
        check_text(name, "category")
    require(config_inside(metadata, path).SEED in range(-LARGEST_INTEGER, LARGEST_INTEGER), "seed beyond 64 bits")


WEIGHT_READERS: Sequence[Reader] = (
    Reader("safetensors", _safetensors, mutate_safetensors, _read_weights),
    Reader("metadata", _safetensors, mutate_safetensors, _read_metadata),
    Reader("pth", _torch, mutate_torch, _read_weights),
    Reader("pkl", _pickles, mutate_pickle, _read_pickle),
    Reader("npz", _archives, mutate_bytes, _read_pickle),
    Reader("flax", _flax, mutate_bytes, _read_pickle),
    Reader("training_state", _states, mutate_torch, _read_state),
    Reader("pointers", _pointers, mutate_bytes, _read_pointers),
)
