"""Running the cases of pictures, videos and folders of frames, and of the demo."""

from pathlib import Path

import numpy as np

from dense.errors import DataError, DenseError
from dense.video import open_frames
from dense.video.pictures import list_pictures, read_picture

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "configs" / "tiny.yaml"
WORLD_MODEL = "world_ctvis_lite0"  # the weights of this repository


def picture(case):
    """One picture, or several by name."""
    names = case.inputs.get("images") or [case.inputs["image"]]
    pictures = {name: read_picture(case.folder / name) for name in names}
    first = pictures[names[0]]
    return {
        "size": [first.shape[1], first.shape[0]],
        "sizes": {name: [image.shape[1], image.shape[0]] for name, image in pictures.items()},
        "channels": first.shape[2],
        "rgb": [int(v) for v in np.median(first.reshape(-1, 3), axis=0)],
        "rgb_right_half": [int(v) for v in np.median(first[:, -first.shape[1] // 2 + 1 :].reshape(-1, 3), axis=0)],
    }


def exif(case):
    """Every picture of a folder, upright."""
    images = {path.name: read_picture(path) for path in list_pictures(case.folder)}
    rows = {n: {"size": [i.shape[1], i.shape[0]], "red": case.corner_of_red(i)} for n, i in images.items()}
    return {"images": rows}


def picture_folder(case):
    """Pictures of a folder and its sub-folders: which can be used, which cannot."""
    root = case.folder / case.inputs["folder"]
    usable, bad = [], []
    for path in list_pictures(root, recursive=True):
        try:
            read_picture(path)
        except DataError:
            bad.append(path.relative_to(root).as_posix())
        else:
            usable.append(path.relative_to(root).as_posix())
    hidden = [name for name in case.facts["bad_or_ignored"] if name not in usable]
    return {"usable": len(usable), "bad": bad, "bad_or_ignored": hidden}


def empty_folder(case):
    """A folder without pictures, and one that is not there: both are one error."""
    try:
        list_pictures(case.folder / case.inputs["missing"])
    except DenseError as error:
        assert case.inputs["missing"] in str(error)  # noqa: PT017  the other error is the case's outcome
    else:
        return {"missing": "no error"}
    return {"found": list_pictures(case.folder / case.inputs["folder"])}


def cut_picture(case):
    """A picture that is cut off."""
    return {"size": read_picture(case.folder / case.inputs["bad"]).shape}


def video(case):
    """A video or a folder of frames: numbers drawn into the frames, times, sizes; and the demo over it."""
    source = case.folder / next(iter(case.inputs.values()))
    facts = _frames(case, source)
    lines = _demo(case, source, Path("out"), "--config-file", TINY, "--min-score", "0")
    sizes = {(line["height"], line["width"]) for line in lines}
    masks = {tuple(o["rle"]["size"]) for line in lines for o in line["objects"]}
    assert len(lines) == facts["num_frames"], "the demo lost frames"
    assert masks == sizes, "masks of another size than their frames"
    return {**facts, "mask_size": list(masks.pop())}


def _frames(case, source):
    with open_frames(source) as frames:
        read = list(frames)
    return {
        "num_frames": len(read),
        "order": [case.drawn_number(frame.image) for frame in read],
        "size": [read[0].image.shape[1], read[0].image.shape[0]],
        "times": [frame.time_s for frame in read],
        "red_corner": case.corner_of_red(read[-1].image),
    }


def _demo(case, source, output, *options):
    """Run the demo; its result lines. Raises: DenseError with what it says where it ends with 1."""
    import json

    from dense.inference.demo_video import main

    case.capsys.readouterr()
    status = main([str(word) for word in ("--input", source, "--output", output, *options)])
    said = case.capsys.readouterr().err.strip()
    if status:
        assert "Traceback" not in said
        raise DenseError(said.splitlines()[-1])
    folder = output if output.is_dir() else output.parent
    paths = list(folder.glob("*predictions.jsonl"))  # none beside a single video file
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def several_videos(case):
    """Each file on its own."""
    return {name: case.outcome_of(lambda name=name: _frames(case, case.folder / name)) for name in case.inputs["videos"]}


def outputs(case):
    """The demo with the repository's weights, once for each name of the output."""
    source = case.folder / case.inputs["video"]

    def run(name):
        target = Path(name.replace(".", "_")) / name
        _demo(case, source, target, "--model", WORLD_MODEL)
        with open_frames(target) as frames:
            return {"num_frames": len(list(frames))}

    return {name: case.outcome_of(lambda name=name: run(name)) for name in case.expect["outputs"]}


RUNS = {
    "img-exif-all": exif,
    "img-folder-mixed": picture_folder,
    "img-folder-empty": empty_folder,
    "img-truncated-jpeg": cut_picture,
    "img-": picture,
    "vid-not-a-video": several_videos,
    "vid-output-codec": outputs,
    "vid-": video,
    "dir-": video,
}
