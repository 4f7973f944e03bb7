"""Put Detectron2 into the Python that runs this file, without compiling anything.

A Detectron2 that can already be imported (your own build from its repository) is used as it is. Otherwise the Python
part of a published wheel is unpacked. The wheel is tagged for Python 3.10 because of one binary, ``detectron2._C``
(rotated boxes, deformable convolution v1/v2); nothing here needs it, and Detectron2 works without it.

Uses the standard library only: it runs before anything else is installed.

    dense doctor --install-detectron2             # into this Python; in a checkout also: python tools/install_detectron2.py
    DETECTRON2_WHEEL=/path/x.whl dense doctor --install-detectron2     # offline; the hash must be the pinned one
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from dense.errors import DependencyError

__all__ = ["InstallError", "check", "fetch", "install", "main", "pinned_hash", "unpack"]

_PACKAGE = Path(__file__).resolve().parent
_PLACES = (_PACKAGE / "share", _PACKAGE.parent)  # in a wheel, in a checkout
REQUIREMENT = next((f for f in (p / "requirements-detectron2.txt" for p in _PLACES) if f.is_file()), _PLACES[0])
_TAGS = ["--only-binary=:all:", "--python-version", "3.10", "--implementation", "cp"]
_KEPT = re.compile(
    r"^(detectron2/(?!_C\.)|sal_detectron2-[^/]*\.dist-info/)"
)  # not `_C`, nor the wheel's top-level `tools`, which would hide ours


class InstallError(DependencyError):
    """Detectron2 cannot be installed; the message says why and what to do, in one line."""


def pinned_hash() -> str:
    """Return the SHA-256 (64 hex digits) that ``requirements-detectron2.txt`` pins.

    Raises: InstallError if the file has none.
    """
    found = re.search(r"--hash=sha256:([0-9a-f]{64})", REQUIREMENT.read_text(encoding="utf-8"))
    if found is None:
        raise InstallError(f"{REQUIREMENT.name}: has no --hash=sha256:… entry. Restore the file from the repository.")
    return found.group(1)


def fetch(folder: Path) -> Path:
    """Return the path of the wheel: ``$DETECTRON2_WHEEL``, or downloaded by pip into ``folder``.

    Raises: InstallError if pip cannot get it.
    """
    own = os.environ.get("DETECTRON2_WHEEL")
    if own:
        if not Path(own).is_file():
            raise InstallError(f"DETECTRON2_WHEEL={own}: no such file. Give the path of the wheel, or unset the variable.")
        return Path(own)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *_TAGS]
    done = subprocess.run([*command, "-d", str(folder), "-r", str(REQUIREMENT)], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "pip found no wheel")
        raise InstallError(
            f"Detectron2: {reason}. Check the network, or build it from its repository into this environment, "
            "or set DETECTRON2_WHEEL to a downloaded wheel."
        )
    return wheels[0]


def check(wheel: Path) -> None:
    """Compare the wheel's SHA-256 with the pinned one.

    Raises: InstallError if they differ.
    """
    found, wanted = hashlib.sha256(wheel.read_bytes()).hexdigest(), pinned_hash()
    if found != wanted:
        raise InstallError(f"{wheel.name}: SHA-256 is {found}, expected {wanted}. Delete the file and download it again.")


def correct_metadata(info: Path) -> None:
    """Make the metadata true for what is kept: `pip check` is content, `pip uninstall` removes exactly this.

    No binary is left, so the tag is any Python's, and NumPy 2 serves; ``black`` only formats exported configurations.
    """
    changed = re.compile(r"^(.*\.dist-info/(?:WHEEL|METADATA)),.*")  # their hashes are no longer those in the record
    edits: dict[str, Callable[[str], str]] = {
        "RECORD": lambda line: changed.sub(r"\1,,", line) if _KEPT.match(line) else "",
        "WHEEL": lambda line: "Tag: py3-none-any\n" if line.startswith("Tag:") else line,
        "METADATA": lambda line: {"Requires-Dist: numpy<2\n": "Requires-Dist: numpy\n", "Requires-Dist: black\n": ""}.get(
            line, line
        ),
    }
    for name, edit in edits.items():
        lines = (info / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (info / name).write_text("".join(map(edit, lines)), encoding="utf-8", newline="\n")


def unpack(wheel: Path, site: Path) -> None:
    """Unpack ``detectron2`` and its metadata into ``site``; each folder is renamed into place when it is complete."""
    with tempfile.TemporaryDirectory(prefix=".detectron2-", dir=site) as scratch, zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if _KEPT.match(name)])
        for info in Path(scratch).glob("*.dist-info"):
            correct_metadata(info)
        for folder in sorted(Path(scratch).iterdir()):
            shutil.rmtree(site / folder.name, ignore_errors=True)
            folder.replace(site / folder.name)


def install() -> str:
    """Make ``import detectron2`` work in this Python; return one line that says what was done.

    Raises: InstallError if the wheel cannot be had or is not the pinned one.
    """
    spec = importlib.util.find_spec("detectron2")
    if spec is not None and spec.origin:
        return f"Detectron2: using {Path(spec.origin).parent}"
    site = Path(sysconfig.get_paths()["purelib"])
    if not os.access(site, os.W_OK):
        raise InstallError(f"{site}: cannot be written. Use a virtual environment (`make setup` makes one).")
    with tempfile.TemporaryDirectory() as folder:
        wheel = fetch(Path(folder))
        check(wheel)
        unpack(wheel, site)
    return f"Detectron2: installed into {site}"


def main() -> int:
    """Install and report; exit code 0 done, 1 not possible."""
    try:
        sys.stdout.write(f"{install()}\n")
    except InstallError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
