"""Make ``.venv`` ready: pinned packages, Detectron2, this package (editable), compiled operators. What ``make setup`` runs.

Instant when nothing changed; a set-up that was interrupted or broken is repaired. Standard library only: it runs
before anything is installed.

    python3 tools/setup_env.py                    make or repair .venv
    python3 tools/setup_env.py --check PYTHON     only look whether an environment of yours has what is needed

Environment: TORCH_INDEX_URL (index with another build of torch, e.g. CPU only), VENV (folder, default .venv),
DETECTRON2_WHEEL (a downloaded wheel, offline).
Exit code: 0 ready, 1 not possible (the last line says what to do), 2 wrong usage.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)
NEEDED = ("torch", "torchvision", "detectron2", "av", "pytest", "dense")
SPACE_GB = 9  # torch with CUDA and its libraries, unpacked, and pip's download beside it
PACKAGE_SOURCES = ("constraints.txt", "requirements-detectron2.txt", "setup.py", "dense/install_detectron2.py")
TRACKEVAL = "trackeval"  # without its dependencies: it asks for a second OpenCV, which needs a display's libraries


class SetupError(Exception):
    """A step failed; the message says which, why and what to do."""


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(f"setup: {text}", flush=True)


def clean_environment() -> dict[str, str]:
    """Return the environment for child processes: nothing of the caller's Python leaks in."""
    kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1"}


def digest(texts: list[bytes]) -> str:
    """Return the SHA-256 of ``texts``, each with its length, so that moved borders change it too."""
    total = hashlib.sha256()
    for text in texts:
        total.update(len(text).to_bytes(8, "big") + text)
    return total.hexdigest()


def venv_version(venv: Path) -> tuple[int, int] | None:
    """Return (major, minor) of the Python that ``venv`` was made with; None if it does not say."""
    try:
        text = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", text, flags=re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def wanted_state(root: Path, version: tuple[int, int] | None) -> dict[str, str]:
    """Return what a finished set-up of ``root`` records: hashes of what decides the packages, and of the operators' sources."""
    project = (root / "pyproject.toml").read_text(encoding="utf-8").split("[tool.", 1)[0]  # the rest installs nothing
    packages = [project.encode(), *((root / name).read_bytes() for name in PACKAGE_SOURCES), repr(version).encode()]
    sources = sorted(p for p in (root / "dense" / "ops" / "csrc").rglob("*") if p.is_file())
    sources += [p for p in [root / "dense" / "ops" / "build.py"] if p.is_file()]
    named = [part for p in sources for part in (p.relative_to(root).as_posix().encode(), p.read_bytes())]
    return {"packages": digest(packages), "operators": digest(named)}


def read_stamp(venv: Path) -> dict[str, str]:
    """Return what the last finished set-up recorded; empty if there was none or the file is damaged."""
    try:
        stamp = json.loads((venv / ".dense-setup.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: Path, stamp: dict[str, str]) -> None:
    """Record a finished step; renamed into place so that an interruption leaves the old one or the new one."""
    scratch = venv / ".dense-setup.json.tmp"
    scratch.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    scratch.replace(venv / ".dense-setup.json")


def missing_from(python: Path | str, root: Path = ROOT) -> list[str] | None:
    """Return the needed modules that ``python`` lacks (``dense`` must be this checkout's); None if it does not run."""
    script = (
        "import importlib.util as u, sys, pathlib\n"
        "for name in sys.argv[2:]:\n"
        "    spec = u.find_spec(name)\n"
        "    ok = spec is not None and spec.origin\n"
        "    if ok and name == 'dense': ok = pathlib.Path(spec.origin).resolve().parent.parent == pathlib.Path(sys.argv[1])\n"
        "    if not ok: print(name)\n"
    )
    try:
        command = [str(python), "-I", "-c", script, str(root), *NEEDED]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment(), cwd=root)
    except OSError:
        return None
    return done.stdout.split() if done.returncode == 0 else None


class Environment:
    """The virtual environment: its steps, its log, its stamp."""

    def __init__(self, venv: Path, torch_index: str = "") -> None:
        self.venv, self.torch_index = venv, torch_index
        self.python = venv / "bin" / "python"

    def call(self, step: str, *arguments: str, remedy: str, **extra: str) -> None:
        """Run the environment's Python with ``arguments``; its output goes to ``setup.log``.

        Raises: SetupError with the last error line and ``remedy``.
        """
        start = time.monotonic()
        log = self.venv / "setup.log"
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"\n== {step}: python {' '.join(arguments)}\n")
            stream.flush()
            command, env = [str(self.python), *arguments], {**clean_environment(), **extra}
            code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False, cwd=ROOT, env=env).returncode
        if code:
            output = log.read_text(encoding="utf-8", errors="replace").rpartition("\n== ")[2]
            lines = [line.strip() for line in output.splitlines() if line.strip()]
            reason = next((line for line in lines if line.startswith(("ERROR", "error"))), lines[-1])
            raise SetupError(f"{step} failed: {reason[:300]}\n  {remedy}\n  Whole output: {log}")
        say(f"{step} done ({time.monotonic() - start:.0f} s)")

    def pip(
        self,
        step: str,
        *arguments: str,
        remedy: str = "Check the network and run `make setup` again; it goes on where it stopped.",
    ) -> None:
        """Install with pip under the pins of ``constraints.txt``. Raises: SetupError."""
        self.call(
            step,
            "-m",
            "pip",
            "install",
            "--no-compile",
            "-c",
            "constraints.txt",
            *arguments,
            remedy=remedy,
            DENSE_BUILD_OPS="0",
        )

    def create(self) -> None:
        """Make an empty environment. Raises: SetupError without the venv module or without disk space."""
        free = shutil.disk_usage(self.venv.parent).free / 1e9
        if free < SPACE_GB and not self.torch_index:
            raise SetupError(
                f"{free:.1f} GB free, about {SPACE_GB} GB needed. Free some space, or name an index with a smaller torch: "
                "TORCH_INDEX_URL=… make setup"
            )
        shutil.rmtree(self.venv, ignore_errors=True)
        done = subprocess.run([sys.executable, "-m", "venv", str(self.venv)], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(self.venv, ignore_errors=True)
            raise SetupError(
                f"`{sys.executable} -m venv` failed. On Debian and Ubuntu: apt install python3-venv. "
                "Or use an environment of yours: DENSE_PYTHON=/path/to/python make test\n  "
                f"{(done.stderr or done.stdout).strip()[-300:]}"
            )
        say(f"{self.venv.name} made with Python {sys.version.split()[0]}")

    def install(self) -> None:
        """Install torch, the pinned packages, this checkout and Detectron2. Raises: SetupError."""
        self.pip("build tools", "setuptools", "wheel")
        where = ["--index-url", self.torch_index] if self.torch_index else []
        if self.torch_index != read_stamp(self.venv).get("torch_index", ""):  # else pip would keep the build that is there
            self.call("other torch removed", "-m", "pip", "uninstall", "-y", "torch", "torchvision", remedy="Delete .venv.")
        if "torch" in (missing_from(self.python) or []):
            say("torch: a download of some GB, a few minutes …")
        self.pip(
            "torch", *where, "torch", "torchvision", remedy="Check the network (or TORCH_INDEX_URL) and run `make setup` again."
        )
        write_stamp(self.venv, {"torch_index": self.torch_index})
        self.pip("packages", "--no-build-isolation", "-e", ".[all]")
        self.pip("track evaluation", "--no-deps", TRACKEVAL)
        self.call("Detectron2", "tools/install_detectron2.py", remedy="See docs/install.md, 'own Detectron2'.")

    def build_operators(self) -> None:
        """Compile the operators; without a compiler the PyTorch fallback serves, so this warns and goes on."""
        if not (ROOT / "dense" / "ops" / "build.py").is_file():
            return
        try:
            self.call(
                "operators",
                "-m",
                "dense",
                "build-ops",
                remedy="The PyTorch fallback is used. After mending: .venv/bin/dense build-ops",
            )
        except SetupError as error:
            say(f"warning: {error}")

    def prepare(self) -> None:
        """Bring the environment to the wanted state, doing only what is needed. Raises: SetupError."""
        missing, version = missing_from(self.python), venv_version(self.venv)
        demanded = os.environ.get("PYTHON") and version != sys.version_info[:2]  # make passes PYTHON on only if it was given
        if missing is None or demanded:
            if self.venv.exists():
                say(f"{self.venv.name} {'has another Python' if demanded else 'does not run'}; making it anew")
            self.create()
            missing, version = list(NEEDED), venv_version(self.venv)
        wanted, stamp = wanted_state(ROOT, version), read_stamp(self.venv)
        url = self.torch_index or stamp.get("torch_index", "")
        if missing != [] or stamp.get("packages") != wanted["packages"] or url != stamp.get("torch_index", ""):
            write_stamp(self.venv, {"torch_index": stamp.get("torch_index", "")})  # interrupted from here on: not finished
            self.torch_index = url
            self.install()
            missing = missing_from(self.python)
            if missing != []:
                raise SetupError(
                    f"after the set-up these are still missing: {missing}. Delete {self.venv} and run `make setup` again."
                )
            stamp = {"packages": wanted["packages"], "torch_index": url}
            write_stamp(self.venv, stamp)
        if stamp.get("operators") != wanted["operators"]:
            self.build_operators()
            write_stamp(self.venv, {**stamp, "operators": wanted["operators"]})
            say("ready")


@contextmanager
def one_at_a_time(venv: Path) -> Iterator[None]:
    """Hold a lock so that two `make` calls do not install into the same folder; the second waits."""
    import fcntl

    name = hashlib.sha256(str(venv).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"dense-setup-{os.getuid()}-{name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work here; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def newer_python() -> str | None:
    """Return a Python on the PATH that is new enough, the best tested one first; None if there is none."""
    for name in ("python3.11", "python3.12", "python3.13", "python3.10"):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    return None


def check_only(python: str) -> int:
    """Say what an environment of the user's lacks; 0 if nothing."""
    missing = missing_from(python)
    missing = missing and [name for name in missing if name != "dense"]  # found through the working directory
    if missing:
        say(f"{python} lacks {', '.join(missing)}. Install them there, or unset DENSE_PYTHON: `make setup` makes .venv.")
    elif missing is None:
        say(f"{python} does not run. Give DENSE_PYTHON the path of a Python, or leave it unset.")
    return 1 if missing or missing is None else 0


def main(arguments: list[str]) -> int:
    """Run the set-up or the check; see the module's docstring."""
    if arguments[:1] == ["--check"] and len(arguments) == 2:
        return check_only(arguments[1])
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    if sys.version_info < OLDEST:
        found = newer_python()
        if found is None:
            say(f"Python {sys.version.split()[0]} is too old (3.10 or newer). Get one, then: make setup PYTHON=python3.11")
            return 1
        return subprocess.run([found, __file__], check=False).returncode
    venv = (ROOT / os.environ.get("VENV", ".venv")).absolute()
    try:
        with one_at_a_time(venv):
            Environment(venv, os.environ.get("TORCH_INDEX_URL", "")).prepare()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next `make setup` goes on", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
