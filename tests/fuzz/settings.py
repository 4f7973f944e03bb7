"""Readers of settings and of text files: YAML, origins of its values, lists of names, result lines, model cards."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dense.config.loading import default_config, load_config
from dense.config.origins import find_origins, flatten
from dense.data.datasets.images import resolve_semantic
from dense.inference.stream_files import write_tracks
from dense.inference.world_run import model_card
from dense.structures.rle import encode

from .annotations import HEIGHT, WIDTH, _square
from .byte_mutations import mutate_bytes
from .file_mutations import mutate_yaml
from .invariants import check_integer, check_mask, check_number, check_text, require
from .json_mutations import mutate_json, mutate_tree
from .reader import Reader, Sample

__all__ = ["SETTING_READERS"]

_YAML = """_BASE_: base.yaml
MODEL:
  META_ARCHITECTURE: MinVIS
  WEIGHTS: "model.pth"
  PIXEL_MEAN: [1.0, 2, 3.5]
  MASK_FORMER:
    DROPOUT: 0.1
    NUM_OBJECT_QUERIES: 20
SOLVER:
  BASE_LR: 1.0e-4
  STEPS: (10, 20)
  MAX_ITER: 30
  AMP: {ENABLED: true}
DATASETS:
  TRAIN: ("a", "b")
OUTPUT_DIR: &out output
VERSION: 2
"""


def _yaml(folder: Path) -> list[Sample]:
    (folder / "base.yaml").write_text("SOLVER: {IMS_PER_BATCH: 2}\nSEED: 5\n", encoding="utf-8")
    return [Sample(".yaml", _YAML.encode())]


_DEFAULTS: dict[str, Any] = {}


def _read_config(path: Path) -> None:
    if not _DEFAULTS:
        _DEFAULTS.update(flatten(default_config()))
    found = dict(flatten(load_config(path)))
    require(set(found) == set(_DEFAULTS), f"keys changed: {sorted(set(found) ^ set(_DEFAULTS))[:5]}")
    for key, value in found.items():
        old = _DEFAULTS[key]
        require(old is None or value is None or type(value) is type(old), f"{key} is {type(value)}, was {type(old)}")
        _check_plain(value, key)
    for key, origin in find_origins(path).items():
        check_text(key, "key")
        require(type(origin) is str, f"origin {origin!r:.60}")


def _check_plain(value: Any, key: str) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, key)
    if isinstance(value, float):
        require(not math.isnan(value), f"{key} is not a number")
    if isinstance(value, int):
        require(abs(value) < 1 << 64, f"{key} is beyond 64 bits")


def _names(folder: Path) -> list[Sample]:
    return [Sample(".json", json.dumps(["cat", "dög", "sky"]).encode())]


def _read_names(path: Path) -> None:
    source = resolve_semantic(f"{path.parent}:{path.parent}:{path}")
    require(bool(source.category_names), "no names")
    for name in source.category_names:
        check_text(name, "name")


def _lines(folder: Path) -> list[Sample]:
    mask = encode(_square(1))
    item = {"track_id": 3, "category": "cat", "label": 0, "score": 0.5, "rle": mask}
    frames = [{"frame": t, "time_s": t / 10, "height": HEIGHT, "width": WIDTH, "objects": [item] * (t % 2)} for t in range(4)]
    lines = [{"source": "x.mp4", "categories": ["cat"]}, *frames]
    return [Sample(".jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())]


def _mutate_lines(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    if rng.random() < 0.3:
        return mutate_bytes(rng, content, others)
    lines = content.decode().splitlines()
    place = rng.randrange(len(lines))
    lines[place] = (
        json.dumps(mutate_tree(rng, json.loads(lines[place])))
        if rng.random() < 0.5
        else mutate_json(rng, lines[place].encode()).decode("latin1")
    )
    return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


def _read_lines(path: Path) -> None:
    target = path.parent / "tracks.json"
    write_tracks(path, target)
    for record in json.loads(target.read_text(encoding="utf-8")):
        require(set(record) == {"video_id", "category_id", "score", "segmentations"}, f"fields {sorted(record)}")
        check_integer(record["category_id"], "category", 1)
        check_number(float(record["score"]), "score")
        for mask in record["segmentations"]:
            if mask is not None:
                check_mask(mask, *mask["size"])


def _cards(folder: Path) -> list[Sample]:
    return [Sample(".json", json.dumps({"AP": 50.0, "AP50": 70, "name": "world", "notes": ["x"]}).encode())]


def _read_card(path: Path) -> None:
    card = model_card(str(path.with_suffix(".safetensors")))
    require(isinstance(card, Mapping), f"card is {type(card)}")
    require(all(type(key) is str for key in card), "a key is no text")


SETTING_READERS: Sequence[Reader] = (
    Reader("yaml", _yaml, mutate_yaml, _read_config),
    Reader("class_names", _names, mutate_json, _read_names),
    Reader("result_lines", _lines, _mutate_lines, _read_lines),
    Reader("model_card", _cards, mutate_json, _read_card),
)
