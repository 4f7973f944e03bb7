"""What is installed, what is missing and how to mend it: ``dense doctor``, also ``python -m dense.doctor``.

Works in an empty environment: each part is looked at on its own, and what cannot be imported becomes a line with its remedy.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import dense

__all__ = ["Finding", "findings", "main"]

ROOT = Path(dense.__file__).resolve().parent.parent
_SETUP = "`make setup` in a checkout installs it"
_SYMBOL = {"ok": "ok", "note": "--", "missing": "!!"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        value: what was found, for people.
        state: ``"ok"``; ``"note"``: usable, could be better; ``"missing"``: something of the toolbox does not work.
        remedy: one sentence that mends it; empty when ``state`` is ``"ok"``.
    """

    name: str
    value: str
    state: str = "ok"
    remedy: str = ""


def system() -> Iterator[Finding]:
    """Operating system, Python, memory and disk."""
    yield Finding("dense", f"{dense.__version__} in {ROOT}")
    yield Finding("system", f"{platform.platform()}, {os.cpu_count()} cores")
    python = f"{platform.python_version()} in {sys.prefix}"
    old = sys.version_info < (3, 10)
    yield Finding(
        "python", python, "missing" if old else "ok", "Use Python 3.10 or newer: make setup PYTHON=python3.11" if old else ""
    )
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    low = free < 2
    yield Finding(
        "disk", f"{free:.1f} GB free here", "note" if low else "ok", "Free some space before training." if low else ""
    )
    yield from memory()


def memory() -> Iterator[Finding]:
    """Memory, in GB of 10⁹ bytes; nothing where the system does not tell."""
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        small = total < 4
        remedy = "Use small inputs and short clips; training needs 8 GB or more." if small else ""
        yield Finding("memory", f"{total:.1f} GB", "note" if small else "ok", remedy)


def torch_build() -> Iterator[Finding]:
    """Torch: version, CUDA build, devices, threads; torchvision beside it."""
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield Finding(
        "torch", f"{torch.__version__} ({cuda}), {torch.get_num_threads()} threads, GPUs: {', '.join(devices) or 'none'}"
    )
    import torchvision

    yield Finding("torchvision", torchvision.__version__)


def detectron2_build() -> Iterator[Finding]:
    """Detectron2: version, place, and whether it has its own binary (rotated boxes, deformable convolution)."""
    import detectron2

    binary = importlib.util.find_spec("detectron2._C") is not None
    where = Path(detectron2.__file__).parent
    yield Finding(
        "detectron2", f"{detectron2.__version__} in {where}, {'with' if binary else 'without'} detectron2._C (not needed here)"
    )


def operators() -> Iterator[Finding]:
    """The compiled operators, or why the PyTorch fallback is in use."""
    from dense.ops import status

    found = status()
    built = f", built for torch {found.torch_built_for}" if found.torch_built_for else ""
    kind, remedy = ("ok", "") if found.loaded else ("note", "`dense build-ops` compiles them (needs g++ or clang++).")
    text = found.reason if found.loaded else f"plain PyTorch, since {found.reason}"
    yield Finding("operators", text + built, kind, remedy)
    yield Finding("CUDA ops", found.cuda)
    tools = {name: shutil.which(name) for name in ("c++", "nvcc")}
    yield Finding("compilers", ", ".join(f"{name}: {path or 'none'}" for name, path in tools.items()))


def video() -> Iterator[Finding]:
    """PyAV, its FFmpeg and an H.264 encoder."""
    import av

    encoders = [name for name in ("libx264", "libopenh264", "h264_nvenc", "h264_videotoolbox") if name in av.codecs_available]
    libraries = ".".join(map(str, av.library_versions.get("libavcodec", ("?",))))
    state, remedy = (
        ("ok", "") if encoders else ("note", "Reinstall PyAV from its wheel (pip install --force-reinstall av) to write MP4.")
    )
    yield Finding(
        "video",
        f"PyAV {av.__version__}, libavcodec {libraries}, H.264 encoders: {', '.join(encoders) or 'none'}",
        state,
        remedy,
    )


def pins() -> dict[str, str]:
    """Return the pinned version of each package for this Python, from ``constraints.txt``; empty if the file is not there."""
    found: dict[str, str] = {}
    for folder in (ROOT, Path(dense.__file__).parent / "share"):
        file = folder / "constraints.txt"
        if not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            match = re.match(r'([\w.-]+)==([^;\s]+)(?:; python_version (>=|<) "3\.(\d+)")?$', line)
            if match and (match[3] is None or (sys.version_info[1] >= int(match[4])) == (match[3] == ">=")):
                found[match[1]] = match[2]
        break
    return found


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, without its build suffix (``+cpu``); None if it is not installed."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def packages() -> Iterator[Finding]:
    """Installed versions against the pinned ones."""
    wanted = pins()
    if not wanted:
        yield Finding(
            "packages",
            "no constraints.txt here, versions not compared",
            "note",
            "Run the doctor in a checkout to compare versions.",
        )
        return
    found = {name: installed_version(name) for name in wanted}
    other = [f"{name} {found[name]} (tested: {wanted[name]})" for name in wanted if found[name] not in {None, wanted[name]}]
    count = sum(version is not None for version in found.values())
    remedy = "`make setup` installs the tested versions; others may work." if other else ""
    text = f"{count} of {len(wanted)} pinned ones installed" + (
        f"; other versions: {', '.join(other)}" if other else ", all as tested"
    )
    yield Finding("packages", text, "note" if other else "ok", remedy)


def weights() -> Iterator[Finding]:
    """The small weights of the repository."""
    files = sorted((ROOT / "weights").glob("*.safetensors"))
    text = ", ".join(f"{file.name} ({file.stat().st_size / 1e6:.1f} MB)" for file in files)
    remedy = (
        ""
        if files
        else "They come with the repository, not with the wheel: use a checkout, or set MODEL.WEIGHTS to a file of yours."
    )
    yield Finding("weights", text or "none", "ok" if files else "note", remedy)


_PARTS: dict[str, tuple[Callable[[], Iterator[Finding]], str]] = {
    "system": (system, ""),
    "torch": (torch_build, f"{_SETUP}; by hand: pip install torch torchvision"),
    "detectron2": (
        detectron2_build,
        f"{_SETUP}; by hand: pip install 'FILE.whl[train]', then dense doctor --install-detectron2; or use a build of yours",
    ),
    "operators": (operators, "They need torch first; then `dense build-ops`"),
    "video": (video, f"{_SETUP}; by hand: pip install av"),
    "packages": (packages, ""),
    "weights": (weights, ""),
}


def findings() -> list[Finding]:
    """Look at every part; a part that cannot be looked at becomes one finding with state ``"missing"``, never an exception."""
    found: list[Finding] = []
    for name, (look, remedy) in _PARTS.items():
        try:
            found.extend(look())
        except Exception as error:  # noqa: BLE001  a broken binary may raise anything, and the doctor's task is to tell it
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            found.append(Finding(name, reason, "missing", f"{remedy}." if remedy else "Report this line as a fault of dense."))
    return found


def report(found: list[Finding]) -> str:
    """Return the findings as text, one line each, its remedy below it."""
    lines = []
    for finding in found:
        lines.append(f"{_SYMBOL[finding.state]} {finding.name:<12}{finding.value}")
        if finding.remedy:
            lines.append(f"   {'':<12}-> {finding.remedy}")
    missing = [finding.name for finding in found if finding.state == "missing"]
    lines.append(f"Not usable: {', '.join(missing)}." if missing else "All usable.")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the report; return 0 if all is usable, else 1."""
    parser = argparse.ArgumentParser(prog="dense doctor", description="What is installed, what is missing, how to mend it.")
    parser.add_argument("--json", action="store_true", help="for programs: findings, and versions of all pinned packages")
    parser.add_argument(
        "--install-detectron2", action="store_true", help="put Detectron2's Python part into this Python; compiles nothing"
    )
    options = parser.parse_args(arguments)
    if options.install_detectron2:
        from dense.install_detectron2 import main as install

        return install()
    found = findings()
    usable = all(finding.state != "missing" for finding in found)
    if options.json:
        versions = {name: {"installed": installed_version(name), "pinned": pin} for name, pin in pins().items()}
        sys.stdout.write(
            json.dumps({"usable": usable, "findings": [asdict(f) for f in found], "packages": versions}, indent=2) + "\n"
        )
    else:
        sys.stdout.write(report(found))
    return 0 if usable else 1


if __name__ == "__main__":
    raise SystemExit(main())
