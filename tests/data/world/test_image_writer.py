"""Pictures of the world on disk: exact ground truth in three formats that agree with each other."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.coco import read_coco
from dense.data.formats.coco_panoptic import read_panoptic
from dense.data.formats.semantic_maps import read_semantic_folders
from dense.data.world import STUFF, THINGS, image_writer, make_image_world
from dense.data.world.command import main
from dense.errors import DataError
from dense.evaluation import evaluate_panoptic
from dense.structures import rle

SIZE = (64, 96)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    make_image_world(root, train_images=5, valid_images=3, size=SIZE, workers=1)
    return root


def read_all(root, split):
    """The three data sets of a split, each checked to the last file."""
    images = root / "images" / split
    instances = read_coco(root / f"annotations/instances_{split}.json", images, check_files=True)
    panoptic = read_panoptic(root / f"annotations/panoptic_{split}.json", root / "panoptic" / split, images, check_files=True)
    return instances, panoptic, read_semantic_folders(images, root / "semantic" / split, (*THINGS, *STUFF))


def digest(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("valid", 3)])
def test_make_image_world__read_back__three_formats_say_the_same(world, split, count):
    """Catches masks, segments and labels of different pictures or classes."""
    instances, panoptic, semantic = read_all(world, split)
    assert len(instances.images) == len(panoptic.images) == len(semantic.images) == count
    assert panoptic.things == frozenset(range(len(THINGS)))
    for image, segments, maps in zip(instances.images, panoptic.images, semantic.images, strict=True):
        ids, labels = panoptic.ids(segments), semantic.labels(maps, SIZE)
        classes = np.full(SIZE, 255)
        for segment in segments.segments:
            classes[ids == segment.id] = panoptic.contiguous_id(segment.category_id)
        assert (classes == labels).all()
        things = [s for s in segments.segments if panoptic.contiguous_id(s.category_id) < len(THINGS)]
        assert [s.category_id for s in things] == [item.category_id for item in image.objects]
        for segment, item in zip(things, image.objects, strict=True):
            assert (rle.decode(item.segmentation) == (ids == segment.id)).all()
        assert (labels == 255).mean() < 0.02


def test_make_image_world__pictures__things_look_unlike_their_surroundings(world):
    """Catches masks shifted against the picture: the colour must change more across borders of the map than elsewhere."""
    _, panoptic, _ = read_all(world, "train")
    across, elsewhere = [], []
    for image in panoptic.images:
        pixels = np.asarray(Image.open(panoptic.image_path(image)).convert("L")).astype(float)
        ids = panoptic.ids(image)
        step, border = np.abs(np.diff(pixels, axis=1)), ids[:, 1:] != ids[:, :-1]
        across.append(step[border].mean())
        elsewhere.append(step[~border].mean())
    assert np.mean(across) > 2 * np.mean(elsewhere)


def test_make_image_world__same_parameters_elsewhere__equal_bytes(world, tmp_path):
    """Catches anything random, dated or dependent on the number of processes."""
    make_image_world(tmp_path / "again", train_images=5, valid_images=3, size=SIZE, workers=2)
    assert digest(tmp_path / "again") == digest(world)


def test_make_image_world__more_train_images__old_ones_unchanged(world, tmp_path):
    """Catches validation pictures that turn into training pictures when the set grows."""
    make_image_world(tmp_path, train_images=6, valid_images=3, size=SIZE, workers=1)
    old, new = digest(world), digest(tmp_path)
    pictures = [name for name in old if not name.endswith(".json")]
    assert all(old[name] == new[name] for name in pictures)


def test_make_image_world__again__kept_unless_a_file_is_missing(world, monkeypatch):
    """Catches rendering twice, and an incomplete folder that is taken for complete."""
    arguments = {"train_images": 5, "valid_images": 3, "size": SIZE, "workers": 1}
    with monkeypatch.context() as patched:
        patched.setattr(image_writer, "_render_job", lambda job: pytest.fail("rendered again"))
        report = make_image_world(world, **arguments)
        assert report.kept
        assert report.instances > 0
    (world / "panoptic" / "valid" / "000001.png").unlink()
    assert not make_image_world(world, **arguments).kept
    assert (world / "panoptic" / "valid" / "000001.png").is_file()


def test_make_image_world__cut_off__no_json_and_completed_later(tmp_path, monkeypatch):
    """Catches half a data set that looks whole."""
    render = image_writer._render_job

    def stop(job):
        if job.number == 2:
            raise KeyboardInterrupt
        return render(job)

    with monkeypatch.context() as patched:
        patched.setattr(image_writer, "_render_job", stop)
        with pytest.raises(KeyboardInterrupt):
            make_image_world(tmp_path, train_images=3, valid_images=1, size=SIZE, workers=1)
    assert not list((tmp_path / "annotations").glob("*.json") if (tmp_path / "annotations").exists() else [])
    assert not make_image_world(tmp_path, train_images=3, valid_images=1, size=SIZE, workers=1).kept


def test_make_image_world__foreign_or_other_world__never_touched(world, tmp_path):
    """Catches somebody's data set being deleted."""
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="not made by the world"):
        make_image_world(tmp_path, train_images=1, valid_images=1, size=SIZE, workers=1)
    with pytest.raises(DataError, match="--overwrite"):
        make_image_world(world, train_images=4, valid_images=3, size=SIZE, workers=1)


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"train_images": -1}, {"size": (8, 8)}, {"train_images": 0, "valid_images": 0}]
)
def test_make_image_world__out_of_range__data_error(tmp_path, change):
    """Catches a wrong number that ends as a traceback, or as an empty data set."""
    with pytest.raises(DataError, match="world"):
        make_image_world(tmp_path, **{"train_images": 1, "valid_images": 1, "workers": 1, **change})


def test_main__kind_images__world_and_sheet(tmp_path, capsys):
    """Catches the command writing videos, or a preview of other pictures."""
    words = ["--kind", "images", "--output", str(tmp_path), "--train-images", "1", "--valid-images", "2", "--workers", "1"]
    assert main([*words, "--height", "64", "--width", "96", "--preview", "2"]) == 0
    assert "1 + 2 images" in capsys.readouterr().out
    sheet = np.asarray(Image.open(tmp_path / "preview.png"))
    assert sheet.shape == (2 * (2 * 64 + 4), 2 * (2 * 96 + 4), 3)
    cell = sheet[2:130, 2:194].astype(int)
    pictures = [Image.open(tmp_path / "images" / "valid" / f"{n:06d}.jpg").resize((192, 128)) for n in (0, 1)]
    same, other = (np.median(np.abs(cell - np.asarray(picture))) for picture in pictures)  # most pixels bear no outline
    assert same < 10 < other
    assert "images" in {path.name for path in tmp_path.iterdir()}


def test_world_panoptic__against_itself__hundred(world):
    """Catches ground truth that the evaluator would not call perfect."""
    files = (world / "annotations/panoptic_train.json", world / "panoptic/train")
    assert evaluate_panoptic(*files, *files)["PQ"] == 100
