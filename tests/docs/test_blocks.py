"""The pages under docs/: their python and bash blocks run, their tables agree with the code, each ends with help.

A page's blocks run in order in an empty folder that has ``configs``, ``tools`` and ``weights`` of the repository, a tiny world
in ``datasets``, ``clip.mp4`` and ``photo.jpg``. Python blocks share one namespace. ``<!-- not run: reason -->`` on the line
before a block leaves it out.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
SLOW = {"checkpoints", "own-dataset", "predict", "pretrain", "quickstart", "train"}  # pages that start models several times
_FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]*?) -->\n)?^(?P<mark>`{3,})(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^(?P=mark)$", re.M | re.S
)
_KINDS = {"python", "bash", "text", "yaml", "json", "toml"}

_DRIVER = """
import subprocess, sys
space = {"__name__": "__main__"}
for path in sys.argv[1:]:
    text = open(path, encoding="utf-8").read()
    if path.endswith(".py"):
        exec(compile(text, path, "exec"), space)
    else:
        done = subprocess.run(["bash", "-euo", "pipefail", path], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{path}: exit code {done.returncode}\\n{text}\\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
"""


class Block(NamedTuple):
    """A fenced block: its language, its text, its line in the page, and why it is not run (empty: it is)."""

    kind: str
    text: str
    line: int
    why: str


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(m["kind"], m["text"], markdown[: m.start("text")].count("\n") + 1, m["why"] or "")
        for m in _FENCE.finditer(markdown)
    ]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages expect it; copied for each page."""
    from dense.data.world.command import main
    from dense.video import VideoWriter, open_frames

    folder = tmp_path_factory.mktemp("stage")
    size = ["--frames", "4", "--frame-step", "6", "--height", "96", "--width", "160", "--workers", "1"]
    assert main(["--output", str(folder / "datasets/world"), "--train-videos", "6", "--valid-videos", "2", *size]) == 0
    images = ["--kind", "images", "--train-images", "4", "--valid-images", "2", *size[4:]]
    assert main(["--output", str(folder / "datasets/world_images"), *images]) == 0
    frames = folder / "datasets/world/valid/JPEGImages/v000000"
    with VideoWriter(folder / "clip.mp4", rate=5) as writer, open_frames(frames) as source:
        for frame in source:
            writer.write(frame.image, time_s=frame.index / 5)
    shutil.copytree(frames, folder / "frames")
    shutil.copy(frames / "00000.jpg", folder / "photo.jpg")
    commands = folder / ".bin"
    commands.mkdir()
    for name, module in (("python", ""), ("dense", "-m dense"), ("torchrun", "-m torch.distributed.run")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n', encoding="utf-8")
        (commands / name).chmod(0o755)
    return folder


def run_page(page: Path, stage: Path, folder: Path) -> None:
    """Run the blocks of a page in a copy of ``stage``; a failure shows block and output."""
    shutil.copytree(stage, folder, dirs_exist_ok=True)
    for name in ("configs", "tools", "weights"):
        (folder / name).symlink_to(ROOT / name)
    files = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.kind in {"python", "bash"} and not block.why:
            files.append(folder / f"{page.stem}-line-{block.line}.{'py' if block.kind == 'python' else 'sh'}")
            files[-1].write_text(block.text, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in {"DETECTRON2_DATASETS", "PYTHONWARNINGS"}}
    path = f"{folder / '.bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    environment |= {"PYTHONPATH": str(ROOT), "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", _DRIVER, *map(str, files)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{page.name}\n{done.stdout[-1500:]}\n{done.stderr[-4000:]}"


def _runnable(page: Path) -> bool:
    return any(block.kind in {"python", "bash"} and not block.why for block in blocks(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in SLOW else []) for p in PAGES if _runnable(p)],
)
def test_blocks__run_in_order__no_failure(page: Path, stage: Path, tmp_path: Path) -> None:
    """Catches an example in the documents that does not work (any more)."""
    run_page(page, stage, tmp_path)


@pytest.mark.parametrize("text", ["assert False", "undefined_name"])
def test_run_page__failing_block__fails(text: str, stage: Path, tmp_path: Path) -> None:
    """Catches a runner that passes whatever the blocks do."""
    page = tmp_path / "page.md"
    page.write_text(f"```python\nx = 1\n```\n\n```python\n{text}\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md"):
        run_page(page, stage, tmp_path / "run")


def test_run_page__failing_command__fails(stage: Path, tmp_path: Path) -> None:
    """Catches a shell block whose first line fails and whose last does not."""
    page = tmp_path / "page.md"
    page.write_text("```bash\nfalse | cat\ntrue\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="exit code 1"):
        run_page(page, stage, tmp_path / "run")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_page__any__ends_with_help_and_hides_nothing(page: Path) -> None:
    """Catches a page without help, a block in a language that the runner passes over, and a block left out without a reason."""
    text = page.read_text(encoding="utf-8")
    headings = [line for line in re.sub(_FENCE, "", text).splitlines() if line.startswith("## ")]
    assert headings, page.name
    assert headings[-1] == "## If it fails", headings
    found = blocks(text)
    assert {block.kind for block in found} <= _KINDS
    assert text.count("```") == 2 * len(found), "a fence is not closed, or indented"
    assert text.count("<!-- not run") == sum(len(block.why) > 5 for block in found)


def test_nav__every_page__listed_once() -> None:
    """Catches a page that nobody can find."""
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"(\S+\.md)$", nav, re.M)) == [page.name for page in PAGES]


def test_key_table__keys_of_the_sources__default_configuration_has_the_same_values() -> None:
    """Catches a reader of comments that misses a local name or a value, so that the page tells another default."""
    pytest.importorskip("detectron2")
    from detectron2.config import CfgNode

    from dense.config import load_config

    specification = importlib.util.spec_from_file_location("docs_hooks", ROOT / "tools/docs_hooks.py")
    hooks = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hooks)
    cfg, seen = load_config(), set()
    for name in re.findall(r"<!-- keys (\S+) -->", (ROOT / "docs/configuration.md").read_text(encoding="utf-8")):
        for key, default, _ in hooks.key_rows((ROOT / name).read_text(encoding="utf-8")):
            node = cfg
            for part in key.split("."):
                node = node[part]
            assert eval(default, {"CfgNode": CfgNode}) == node, key  # noqa: S307  our own source
            seen.add(key)
    assert {"SEED", "MODEL.TIMM.NAME", "INPUT.MIN_SCALE", "INPUT.LSJ_AUG.ENABLED", "MODEL.ASSOCIATION.DECAY"} <= seen
    assert "| `INPUT.MIN_SCALE` | `0.1` | large-scale jitter |" in hooks.key_table(ROOT / "dense/config/keys.py")
