"""Small worlds in every layout, to be damaged by the tests, and the checker's answer."""

import json
import shutil

import pytest

from dense.data.checking import check_target, find_targets
from dense.data.world import make_image_world, make_map_world, make_video_world
from dense.data.world.parameters import WorldParameters

SIZE = (48, 80)


@pytest.fixture(scope="session")
def clean_worlds(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    make_video_world(root / "videos", train_videos=2, valid_videos=0, frames=3, size=SIZE, workers=1)
    make_image_world(root / "images", train_images=3, valid_images=0, size=SIZE, workers=1)
    for layout in ("vipseg", "vspw"):
        make_map_world(root / layout, layout, WorldParameters(0, 2, 0, 3, *SIZE, 1), workers=1)
    return root


@pytest.fixture
def world(clean_worlds, tmp_path):
    """Folder with a copy of all worlds."""
    shutil.copytree(clean_worlds, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def edited():
    """Function that changes a JSON file in place with a function."""

    def edit(path, change):
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return edit


@pytest.fixture
def check():
    """Function from a name to the report of the first data set it means."""

    def run(name, **options):
        (target, *_) = find_targets(str(name))
        return check_target(target, workers=2, **options)

    return run


@pytest.fixture
def faults_of():
    """Function from a report to (severity, kind, position) of its faults, without categories that nobody uses."""

    def found(report):
        kept = [fault for fault in report.faults if fault.kind != "category without objects"]
        return [(fault.severity, fault.kind, fault.position) for fault in kept]

    return found
