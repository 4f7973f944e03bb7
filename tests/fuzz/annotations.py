"""Readers of annotation and result files, and of the label maps beside them."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dense.data.formats import (
    read_coco,
    read_detections,
    read_panoptic,
    read_panoptic_results,
    read_semantic_folders,
    read_video_results,
    read_youtube_vis,
)
from dense.data.formats.lvis import read_lvis
from dense.data.formats.png_ids import read_id_map, read_label_map, write_id_map, write_label_map
from dense.data.formats.vocabulary import read_vocabulary
from dense.structures.rle import encode

from .byte_mutations import mutate_bytes
from .invariants import check_categories, check_entry, check_integer, check_mask, check_number, check_text, require
from .json_mutations import mutate_json
from .reader import Reader, Sample

__all__ = ["ANNOTATION_READERS"]

HEIGHT, WIDTH, FRAMES = 6, 8, 3
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 7, "name": "dög", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}]


def _square(x: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:4, x : x + 3] = True
    return mask


RLE = encode(_square(1))
PLAIN_RLE = {"size": [HEIGHT, WIDTH], "counts": [7, 3, 3, 3, 3, 3, 26]}
POLYGON = [[1, 1, 5.5, 1, 5.5, 4, 1, 4]]


def _videos() -> dict[str, Any]:
    names = [f"v/{t}.jpg" for t in range(FRAMES)]
    video = {"width": WIDTH, "height": HEIGHT, "length": FRAMES, "file_names": names}
    box = [1, 1, 3, 3]
    return {
        "videos": [{"id": 1, **video}, {"id": 2, "file_names": names[:1]}],
        "categories": CATEGORIES,
        "annotations": [
            {"id": 0, "video_id": 1, "category_id": 1, "segmentations": [RLE, None, PLAIN_RLE], "iscrowd": 0},
            {
                **{"id": 5, "video_id": 1, "category_id": 7, "segmentations": [POLYGON, RLE, RLE], "iscrowd": 1},
                **{"bboxes": [box, None, box], "areas": [12, None, 9.0]},
            },
            {"id": 6, "video_id": 2, "category_id": 7, "segmentations": [RLE]},
        ],
    }


def _images() -> dict[str, Any]:
    return {
        "images": [{"id": n, "width": WIDTH, "height": HEIGHT, "file_name": f"{n}.png"} for n in (0, 3)],
        "categories": CATEGORIES,
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": RLE, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 1},
            {"id": 2, "image_id": 3, "category_id": 7, "segmentation": PLAIN_RLE},
            {"id": 3, "image_id": 3, "category_id": 7, "segmentation": POLYGON, "bbox": [1.5, 1, 2, 2]},
        ],
    }


def _segments() -> dict[str, Any]:
    segments = [{"id": 1, "category_id": 1, "iscrowd": 0, "area": 9}, {"id": 70000, "category_id": 9}]
    images = _images()
    return {**images, "annotations": [{"image_id": n, "file_name": f"{n}.png", "segments_info": segments} for n in (0, 3)]}


def _json_samples(make: Callable[[], Any], folder: Path) -> list[Sample]:
    _write_surroundings(folder)
    return [Sample(".json", json.dumps(make()).encode())]


def _write_surroundings(folder: Path) -> None:
    """Ground truth that results are read against, pictures, panoptic maps."""
    for name, content in (("videos", _videos()), ("images", _images()), ("segments", _segments())):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    ids = np.where(_square(1), 1, 70000)
    for n in (0, 3):
        write_id_map(folder / f"{n}.png", ids)


def _video_results() -> list[dict[str, Any]]:
    return [
        {"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [RLE, None, RLE]},
        {"video_id": 2, "category_id": 9, "score": 1, "segmentations": [PLAIN_RLE]},
    ]


def _detections() -> list[dict[str, Any]]:
    return [
        {"image_id": 0, "category_id": 1, "score": 0.25, "bbox": [1, 1, 3, 3]},
        {"image_id": 3, "category_id": 7, "score": 0.75, "segmentation": RLE},
        {"image_id": 3, "category_id": 7, "score": 0.75, "segmentation": POLYGON, "bbox": []},
    ]


def _stated(path: Path) -> dict[int, dict[str, Any]]:
    """Annotations by id as the file has them."""
    return {int(a["id"]): a for a in json.loads(path.read_text(encoding="utf-8-sig"))["annotations"] or ()}


def _read_youtube_vis(path: Path) -> None:
    dataset = read_youtube_vis(path)
    check_categories(dataset)
    stated = _stated(path) if dataset.has_annotations else {}
    count = 0
    for video in dataset.videos:
        check_entry(video)
        require(video.length == len(video.file_names) > 0, "no frame")
        for name in video.file_names:
            check_text(name, "file name")
        for track in video.tracks:
            count += 1
            require(track.video_id == video.id and track.category_id in dataset.contiguous_ids, "wrong video or category")
            require(len(track.segmentations) == len(track.areas) == video.length, "wrong number of frames")
            for mask, area in zip(track.segmentations, track.areas, strict=True):
                pixels = check_mask(mask, video.height, video.width)
                if area is not None:
                    check_number(area, "area", 0)
                if stated[track.id].get("areas") is None:
                    require(pixels == area or video.height * video.width > 1_000_000, f"area {area}, mask has {pixels}")
    require(count == len(stated), "tracks are missing")


def _read_coco(path: Path) -> None:
    dataset = read_coco(path, masks=False)
    check_categories(dataset)
    stated = _stated(path) if dataset.has_annotations else {}
    require(len({image.id for image in dataset.images}) == len(dataset.images), "image ids are doubled")
    for image in dataset.images:
        check_entry(image)
        check_text(image.file_name, "file name")
        for item in image.objects:
            check_integer(item.id, "id")
            require(item.category_id in dataset.contiguous_ids, "unknown category")
            pixels = check_mask(item.segmentation, image.height, image.width)
            check_number(item.area, "area", 0)
            if stated[item.id].get("area") is None and pixels is not None:
                require(item.area == pixels, f"area {item.area}, mask has {pixels}")
            for value in item.box:
                check_number(value, "box")
            x, y, width, height = item.box
            require(width > 0 and height > 0 and x < image.width and y < image.height, f"box {item.box}")


def _lvis() -> dict[str, Any]:
    images = [{**i, "neg_category_ids": [9], "not_exhaustive_category_ids": [1, 7]} for i in _images()["images"]]
    return {**_images(), "images": images, "categories": [{**c, "frequency": "f"} for c in CATEGORIES]}


def _read_lvis(path: Path) -> None:
    dataset = read_lvis(path, masks=False)
    check_categories(dataset.objects)
    known = set(dataset.objects.contiguous_ids)
    require(set(dataset.frequencies) == known and set(dataset.frequencies.values()) <= set("rcf"), "frequencies")
    for table in (dataset.negatives, dataset.not_exhaustive):
        require(set(table) == {image.id for image in dataset.objects.images}, "images differ")
        require(all(ids <= known for ids in table.values()), "unknown category")


def _read_vocabulary(path: Path) -> None:
    names = [name for synonyms in read_vocabulary(path) for name in synonyms]
    require(bool(names) and len({name.casefold() for name in names}) == len(names), f"names {names}")
    for name in names:
        check_text(name, "name")


def _check_segments(record: Any, categories: Any) -> None:
    check_text(record.png_name, "name of the PNG")
    ids = [segment.id for segment in record.segments]
    require(len(set(ids)) == len(ids) and all(0 < i < 1 << 24 for i in ids), f"segment ids {ids}")
    require(all(segment.category_id in categories for segment in record.segments), "unknown category")


def _read_panoptic(path: Path) -> None:
    dataset = read_panoptic(path, png_root=path.parent, image_root=path.parent)
    check_categories(dataset)
    for image in dataset.images:
        check_entry(image)
        _check_segments(image, dataset.contiguous_ids)
    read_panoptic(path, png_root=path.parent, image_root=path.parent, check_files=True)


def _read_panoptic_png(path: Path) -> None:
    folder = path.parent
    path.replace(folder / "0.png")
    try:
        dataset = read_panoptic(folder / "segments.json", png_root=folder)
        ids = dataset.ids(dataset.images[0])
        listed = {segment.id for segment in dataset.images[0].segments}
        require(ids.shape == (HEIGHT, WIDTH) and ids.dtype == np.int32, f"map {ids.shape} {ids.dtype}")
        require(set(np.unique(ids).tolist()) - {0} == listed, "ids differ from the list")
    finally:
        (folder / "0.png").replace(path)


def _read_video_results(path: Path) -> None:
    dataset = read_youtube_vis(path.parent / "videos.json")
    videos = {video.id: video for video in dataset.videos}
    for record in read_video_results(path, dataset):
        check_number(record.score, "score")
        require(record.category_id in dataset.contiguous_ids, "unknown category")
        video = videos[record.video_id]
        require(len(record.segmentations) == video.length, "wrong number of frames")
        for mask in record.segmentations:
            check_mask(mask, video.height, video.width)


def _read_detections(path: Path) -> None:
    dataset = read_coco(path.parent / "images.json")
    images = {image.id: image for image in dataset.images}
    for record in read_detections(path, dataset):
        check_number(record.score, "score")
        require(record.category_id in dataset.contiguous_ids, "unknown category")
        check_mask(record.segmentation, images[record.image_id].height, images[record.image_id].width)
        require(record.box is not None or record.segmentation is not None, "neither box nor mask")
        for value in record.box or ():
            check_number(value, "box")
        require(record.box is None or min(record.box[2:]) >= 0, f"box {record.box}")


def _read_panoptic_results(path: Path) -> None:
    dataset = read_panoptic(path.parent / "segments.json")
    results = read_panoptic_results(path, dataset)
    require(set(results) == {image.id for image in dataset.images}, "images and results differ")
    for record in results.values():
        _check_segments(record, dataset.contiguous_ids)


def _map_samples(folder: Path) -> list[Sample]:
    _write_surroundings(folder)
    return [Sample(".png", (folder / "0.png").read_bytes())]


def _label_samples(folder: Path) -> list[Sample]:
    labels = _square(2).astype(np.int32)
    labels[0] = 255
    write_label_map(folder / "8.png", labels)
    write_label_map(folder / "16.png", labels * 200)
    palette = Image.fromarray(labels.astype(np.uint8)).convert("P")
    palette.save(folder / "p.png", transparency=0)
    samples = [Sample(".png", (folder / f"{name}.png").read_bytes()) for name in ("8", "16", "p")]
    for name in ("8", "16", "p"):
        (folder / f"{name}.png").unlink()
    return samples


def _read_ids(path: Path, read: Callable[[Path], np.ndarray], largest: int) -> None:
    ids = read(path)
    with Image.open(path) as image:
        require(ids.shape == (image.height, image.width), f"map of {ids.shape}")
    require(ids.dtype == np.int32, f"type {ids.dtype}")
    require(0 <= ids.min() <= ids.max() <= largest, f"ids from {ids.min()} to {ids.max()}")


def _semantic_samples(folder: Path) -> list[Sample]:
    samples = _label_samples(folder)
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "input.jpg")
    return [samples[0], samples[2]]


def _read_semantic(path: Path) -> None:
    dataset = read_semantic_folders(path.parent, path.parent, ["a", "b"])
    (record,) = dataset.images
    require((record.image_path.name, record.label_path) == ("input.jpg", path), f"pair {record}")
    labels = dataset.labels(record, (HEIGHT, WIDTH))
    require(labels.shape == (HEIGHT, WIDTH), f"labels of {labels.shape}")
    require(set(np.unique(labels).tolist()) <= {0, 1, 255}, "labels out of range")


def _of_json(name: str, make: Callable[[], Any], read: Callable[[Path], None]) -> Reader:
    return Reader(name, partial(_json_samples, make), mutate_json, read)


ANNOTATION_READERS: Sequence[Reader] = (
    _of_json("youtube_vis", _videos, _read_youtube_vis),
    _of_json("coco", _images, _read_coco),
    _of_json("lvis", _lvis, _read_lvis),
    _of_json("vocabulary", lambda: ["cat, kitten", "speaker_(stereo)", " dög "], _read_vocabulary),
    _of_json("panoptic", _segments, _read_panoptic),
    _of_json("video_results", _video_results, _read_video_results),
    _of_json("detections", _detections, _read_detections),
    _of_json("panoptic_results", _segments, _read_panoptic_results),
    Reader("panoptic_png", _map_samples, mutate_bytes, _read_panoptic_png),
    Reader("semantic_folders", _semantic_samples, mutate_bytes, _read_semantic),
    Reader("id_map", _map_samples, mutate_bytes, partial(_read_ids, read=read_id_map, largest=(1 << 24) - 1)),
    Reader("label_map", _label_samples, mutate_bytes, partial(_read_ids, read=read_label_map, largest=65535)),
)
