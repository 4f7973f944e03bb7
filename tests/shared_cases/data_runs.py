"""Running the cases of readers and evaluators of result files."""

import json
from pathlib import Path

import numpy as np

from dense.data.formats import read_coco, read_panoptic, read_youtube_vis
from dense.data.formats.png_ids import read_label_map
from dense.data.formats.vocabulary import read_vocabulary
from dense.data.formats.vspw import mask_labels
from dense.errors import DataError
from dense.evaluation import (
    evaluate_instances,
    evaluate_lvis,
    evaluate_panoptic,
    evaluate_video_instances,
    evaluate_video_panoptic,
    evaluate_video_semantic,
)
from dense.evaluation.command import main as evaluate
from dense.structures import rle
from dense.video.pictures import read_picture

CONFIGS = Path(__file__).resolve().parents[1] / "data" / "configs"


def coco(case):
    """Reader of COCO instances, with pictures, for the mask task and for the box task."""
    path, images = case.paths("annotations", "images")
    dataset = read_coco(path, images, check_files=True)
    boxes = read_coco(path, images, masks=False)
    objects = [item for image in dataset.images for item in image.objects]
    pictures = {str(image.id): read_picture(dataset.image_path(image)) for image in dataset.images}
    facts = {
        "num_images": len(dataset.images),
        "num_images_test": len(dataset.images),
        "num_annotations": len(objects),
        "num_annotations_mask_task": len(objects),
        "num_annotations_box_task": sum(len(image.objects) for image in boxes.images),
        "contiguous": {str(k): v for k, v in dataset.contiguous_ids.items()},
        "names": list(dataset.category_names),
        "areas": [float(rle.area(item.segmentation)) for item in objects],
        "boxes": {str(item.id): list(item.box) for item in objects},
        "iscrowd": [int(item.iscrowd) for item in objects],
        "sizes": {name: [picture.shape[1], picture.shape[0]] for name, picture in pictures.items()},
        "red_corner": {name: case.corner_of_red(picture) for name, picture in pictures.items()},
    }
    if case.name == "coco-no-annotations":
        facts["train_filtered"] = _train_filtered(case, path, images)
    return facts


def _train_filtered(case, path, images):
    """What training on a set without any object says: the words of the expectation if it names what they want."""
    from dense.config.loading import load_config
    from dense.data.loaders import train_loader_from_config

    data = ["DATASETS.TRAIN", f"('{path}:{images}',)", "DATASETS.DATASET_TYPE", "['image_instance']"]
    cfg = load_config(CONFIGS / "tiny_image.yaml", [*data, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2])
    try:
        train_loader_from_config(cfg)
    except DataError as error:
        text = str(error)
        if str(path) in text and "FILTER_EMPTY_ANNOTATIONS" in text:
            return "error naming the data set and FILTER_EMPTY_ANNOTATIONS"
        return text
    return "no error"


def coco_scores(case):
    """AP of detections, with the usual limit of 100 and with 300."""
    files = (*case.paths("annotations", "results"), case.inputs["task"])
    figures, wide = evaluate_instances(*files), evaluate_instances(*files, limits=(1, 10, 300))
    return {"AP": figures["AP"], "AP_at_100": figures["AP"], "AR_at_100": figures["AR100"], "AP_at_300": wide["AP"]}


def panoptic(case):
    """Reader of COCO panoptic with its PNGs."""
    dataset = read_panoptic(*case.paths("gt", "gt_png"))
    (image,) = dataset.images
    values, counts = np.unique(dataset.ids(image), return_counts=True)
    return {"pixels": {str(value): int(n) for value, n in zip(values, counts, strict=True) if value}}


def panoptic_scores(case):
    """Panoptic quality."""
    return evaluate_panoptic(*case.paths("gt", "gt_png", "pred", "pred_png"))


def youtube_vis(case):
    """Reader, and the evaluator where there are results."""
    path, images, results = case.paths("annotations", "images", "results")
    dataset = read_youtube_vis(path, images, check_files=images is not None)
    tracks = [track for video in dataset.videos for track in video.tracks]
    facts = {
        "num_videos": len(dataset.videos),
        "lengths": [video.length for video in dataset.videos],
        "areas": list(tracks[0].areas) if tracks else [],
        "num_masks": sum(mask is not None for track in tracks for mask in track.segmentations),
    }
    if images is not None:
        facts["gray_levels"] = [int(read_picture(p)[0, 0, 0]) for v in dataset.videos for p in dataset.frame_paths(v)]
        masks = [track.mask(t) for track in tracks for t in range(len(track.segmentations))]
        facts["areas"] = [None if mask is None else int(mask.sum()) for mask in masks]
    if results is None:
        return facts
    if not dataset.has_annotations:
        before = results.read_bytes()
        facts["exit"] = evaluate(["--gt", str(path), "--predictions", str(results)])
        said = case.capsys.readouterr().out
        skipped = said.startswith("Evaluation skipped") and results.read_bytes() == before
        return {**facts, "evaluation": "skipped, results.json written" if skipped else said}
    return {**facts, **evaluate_video_instances(path, results)}


def video_panoptic_scores(case):
    """VPQ of the windows that the case names, and STQ by its definition, without the quirks of the published script."""
    windows = tuple(int(name[4:]) for name in case.expect["facts"] if name.startswith("VPQ_")) or (1,)
    paths = case.paths("gt", "gt_png", "pred", "pred_png")
    return evaluate_video_panoptic(*paths, windows=windows, published_stq=False)


def video_semantic_scores(case):
    """Mean IoU and video consistency."""
    scores = evaluate_video_semantic(*case.paths("gt", "pred"), 124)
    iou = {str(k): value for k, value in enumerate(scores["per_category"].values())}
    return {**scores, "IoU": {k: v for k, v in iou.items() if k in case.expect["facts"].get("IoU", {})}}


def lvis_scores(case):
    """AP with federated annotations; of rare, common and frequent categories."""
    figures = evaluate_lvis(*case.paths("annotations", "results"), case.inputs["task"])
    return {**figures, **{f"AP_{f}": figures[f"AP{f}"] for f in "rcf"}}


def vocabulary(case):
    """Names and their synonyms."""
    return {"classes": [list(names) for names in read_vocabulary(case.paths("names")[0])]}


def vspw_values(case):
    """What the values of a VSPW mask mean."""
    values = read_label_map(case.paths("mask")[0])
    return {"labels": {str(v): int(mask_labels(np.array([v]))[0]) for v in np.unique(values).tolist()}}


def result_writer(case):
    """NumPy types through the writer of results and back."""
    from dense.data.formats.video_results import write_video_results

    arrays = np.load(case.folder / case.inputs["npz"])
    scalars = {name: arrays[name][()] for name in ("video_id", "category_id", "score")}
    masks = [rle.encode(mask) for mask in arrays["masks"]]
    masks[1] = {"size": np.array(masks[1]["size"]), "counts": masks[1]["counts"].encode()}
    write_video_results("results.json", [{**scalars, "segmentations": masks}])
    (record,) = json.loads(Path("results.json").read_text(encoding="utf-8"))
    for stored, mask in zip(record["segmentations"], arrays["masks"], strict=True):
        assert np.array_equal(rle.decode(stored), mask)
    types = {"counts": type(record["segmentations"][0]["counts"]).__name__}
    types |= {name: type(record[name]).__name__ for name in ("video_id", "score")}
    return {
        "record": {name: record[name] for name in scalars},
        "areas": [rle.area(mask) for mask in record["segmentations"]],
        "types": types,
    }


RUNS = {
    "coco-eval-": coco_scores,
    "coco-": coco,
    "pan-": panoptic,
    "pq-": panoptic_scores,
    "yt-": youtube_vis,
    "vspw-": vspw_values,
    "vpq-": video_panoptic_scores,
    "stq-": video_panoptic_scores,
    "vss-": video_semantic_scores,
    "lvis-": lvis_scores,
    "vocab-": vocabulary,
    "writer-": result_writer,
}
