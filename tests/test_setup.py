"""Set-up: when it does work and when none, what it checks, the command line's exit codes, the wheel's contents."""

import ast
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from dense import __main__ as command_line
from dense import install_detectron2
from dense.errors import ConfigError, DenseError

ROOT = Path(__file__).resolve().parent.parent


def load_tool(name: str) -> ModuleType:
    """Load tools/<name>.py by path: tools is a folder of scripts, no package."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup_env = load_tool("setup_env")
lint_sizes = load_tool("lint_sizes")


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """A folder with just the files that decide about a set-up."""
    for name in ("pyproject.toml", *setup_env.PACKAGE_SOURCES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    sources = tmp_path / "dense" / "ops" / "csrc"
    sources.mkdir(parents=True)
    (sources / "a.cpp").write_text("int a;", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", setup_env.PACKAGE_SOURCES)
def test_wanted_state__package_source_changed__packages_anew(small_root: Path, name: str) -> None:
    """Catches a set-up that is believed current although a pin or an installer changed."""
    before = setup_env.wanted_state(small_root, (3, 11))
    with (small_root / name).open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    after = setup_env.wanted_state(small_root, (3, 11))
    assert after["packages"] != before["packages"]
    assert after["operators"] == before["operators"]


def test_wanted_state__other_python__packages_anew(small_root: Path) -> None:
    """Catches an environment of one Python being taken for that of another."""
    states = {setup_env.wanted_state(small_root, version)["packages"] for version in ((3, 11), (3, 12))}
    assert len(states) == 2


def test_wanted_state__linter_setting_changed__nothing_to_do(small_root: Path) -> None:
    """Catches minutes of set-up after a change of line length, and the opposite: a new dependency that is not noticed."""
    file = small_root / "pyproject.toml"
    text, before = file.read_text(encoding="utf-8"), setup_env.wanted_state(small_root, (3, 11))
    file.write_text(text.replace("line-length = 128", "line-length = 100"), encoding="utf-8")
    assert setup_env.wanted_state(small_root, (3, 11)) == before
    file.write_text(text.replace('"numpy>=1.26"', '"numpy>=1.27"'), encoding="utf-8")
    assert setup_env.wanted_state(small_root, (3, 11)) != before


def test_wanted_state__operator_source_renamed__operators_anew(small_root: Path) -> None:
    """Catches stale operators after a change that moves code between files but leaves their joined text."""
    before = setup_env.wanted_state(small_root, (3, 11))
    source = small_root / "dense" / "ops" / "csrc" / "a.cpp"
    source.rename(source.with_name("b.cpp"))
    after = setup_env.wanted_state(small_root, (3, 11))
    assert after["operators"] != before["operators"]
    assert after["packages"] == before["packages"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_read_stamp__damaged__as_if_none(tmp_path: Path, text: str) -> None:
    """Catches a traceback after an interruption that left half a stamp."""
    (tmp_path / ".dense-setup.json").write_text(text, encoding="utf-8")
    assert setup_env.read_stamp(tmp_path) == {}


def test_missing_from__this_python__nothing() -> None:
    """Catches a check that finds fault with a good environment, which would install anew on each call."""
    assert [name for name in setup_env.missing_from(sys.executable) if name != "dense"] == []


@pytest.mark.parametrize("content", [None, "#!/bin/sh\nexit 127\n"])
def test_missing_from__broken_interpreter__none(tmp_path: Path, content: str | None) -> None:
    """Catches a broken .venv (its Python removed or replaced) being taken for a good one."""
    python = tmp_path / "python"
    if content is not None:
        python.write_text(content, encoding="utf-8")
        python.chmod(0o755)
    assert setup_env.missing_from(python) is None


def test_missing_from__other_checkout__dense_missing(tmp_path: Path) -> None:
    """Catches a copied .venv whose editable install still points at the folder it was copied from."""
    assert "dense" in setup_env.missing_from(sys.executable, tmp_path)


class FakeEnvironment(setup_env.Environment):
    """Records its steps instead of doing them."""

    def __init__(self, venv: Path, torch_index: str = "") -> None:
        super().__init__(venv, torch_index)
        self.done: list[str] = []

    def create(self) -> None:
        self.done.append("create")
        shutil.rmtree(self.venv, ignore_errors=True)
        self.venv.mkdir()

    def install(self) -> None:
        self.done.append(f"install {self.torch_index}".strip())

    def build_operators(self) -> None:
        self.done.append("operators")


def prepared(venv: Path, torch_index: str = "") -> list[str]:
    """Return the steps that one call of the set-up takes."""
    environment = FakeEnvironment(venv, torch_index)
    environment.prepare()
    return environment.done


def answer(monkeypatch: pytest.MonkeyPatch, *answers: list[str] | None) -> None:
    """Let the check of the environment give these answers, one a call; the last one stays. No Python is demanded."""
    monkeypatch.delenv("PYTHON", raising=False)
    left = list(answers)
    monkeypatch.setattr(setup_env, "missing_from", lambda _: left.pop(0) if len(left) > 1 else left[0])


def test_prepare__new_then_again__second_call_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a second call that works again, or a first one that leaves a step out."""
    answer(monkeypatch, None, [])
    assert prepared(tmp_path / "venv") == ["create", "install", "operators"]
    assert prepared(tmp_path / "venv") == []


def test_prepare__interrupted_install__next_call_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a stamp that is written before the work is done, or one that survives an interrupted renewal."""
    answer(monkeypatch, [])
    prepared(tmp_path)

    def interrupted(_: FakeEnvironment) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FakeEnvironment, "install", interrupted)
        patch.setattr(setup_env, "wanted_state", lambda *_: {"packages": "newer", "operators": "o"})
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path)
    assert prepared(tmp_path)[0] == "install"


def test_prepare__package_removed_by_hand__installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches trust in the stamp alone."""
    answer(monkeypatch, [])
    prepared(tmp_path)
    answer(monkeypatch, ["torch"], [])
    assert prepared(tmp_path) == ["install", "operators"]


def test_prepare__still_missing_after_install__error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a set-up that reports success without what it was to install."""
    answer(monkeypatch, ["torch"])
    with pytest.raises(setup_env.SetupError, match=r"still missing: \['torch'\]"):
        prepared(tmp_path)
    assert "packages" not in setup_env.read_stamp(tmp_path)


def test_prepare__other_python_demanded__made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches `make setup PYTHON=…` being ignored where .venv has another Python; without PYTHON the environment stays."""
    answer(monkeypatch, [])
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.1\n", encoding="utf-8")
    monkeypatch.delenv("PYTHON", raising=False)
    assert prepared(tmp_path) == ["install", "operators"]
    monkeypatch.setenv("PYTHON", sys.executable)
    assert prepared(tmp_path) == ["create", "install", "operators"]
    (tmp_path / "pyvenv.cfg").write_text("version = {}.{}.0\n".format(*sys.version_info), encoding="utf-8")
    prepared(tmp_path)
    assert prepared(tmp_path) == []


def test_prepare__torch_index__kept_until_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches `make test` replacing the torch build that `TORCH_INDEX_URL=… make setup` chose."""
    answer(monkeypatch, [])
    assert prepared(tmp_path, "index-a") == ["install index-a", "operators"]
    assert prepared(tmp_path) == []
    assert prepared(tmp_path, "index-b") == ["install index-b", "operators"]


def test_install__other_torch_index__old_build_removed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches pip keeping the torch that is there ("already satisfied") although another build was asked for."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup_env.Environment, "call", lambda _, step, *arguments, **__: calls.append(arguments))
    answer(monkeypatch, [])
    setup_env.Environment(tmp_path, "index-a").install()
    assert ("-m", "pip", "uninstall", "-y", "torch", "torchvision") in calls
    assert any("--index-url" in call and "index-a" in call and "torch" in call for call in calls)
    calls.clear()
    setup_env.Environment(tmp_path, "index-a").install()
    assert not [call for call in calls if "uninstall" in call]


def test_main__wrong_usage__exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an unknown option being ignored and a long set-up started instead."""
    assert setup_env.main(["--chek", "python"]) == 2
    assert "--check PYTHON" in capsys.readouterr().err


def test_check__environment_without_python__says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a silent success with DENSE_PYTHON naming nothing."""
    assert setup_env.main(["--check", "/nowhere/python"]) == 1
    assert "does not run" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tools/setup_env", "tools/install_detectron2", "dense/install_detectron2", "dense/errors"])
def test_tools_before_installation__imports__standard_library_only(name: str) -> None:
    """Catches a third-party import in what runs before anything is installed."""
    tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    assert {n.partition(".")[0] for n in names} <= {"dense", *sys.stdlib_module_names}


def fake_wheel(folder: Path) -> Path:
    """A wheel with the layout of the real one: the package, a binary for another Python, a package `tools`, metadata."""
    wheel = folder / "sal_detectron2-0.7.2-cp310-none-any.whl"
    info = "sal_detectron2-0.7.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("detectron2/__init__.py", "__version__ = '0.7.2'\n")
        archive.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", "binary")
        archive.writestr("tools/__init__.py", "")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: cp310-cp310-linux_x86_64\n")
        archive.writestr(
            f"{info}/METADATA",
            "Name: sal-detectron2\nVersion: 0.7.2\nRequires-Dist: numpy<2\nRequires-Dist: black\nRequires-Dist: tqdm\n",
        )
        record = [
            "detectron2/__init__.py,sha256=a,1",
            "detectron2/_C.cpython-310-x86_64-linux-gnu.so,sha256=b,1",
            "tools/__init__.py,,0",
        ]
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/WHEEL,sha256=c,1", f"{info}/RECORD,,"]) + "\n")
    return wheel


def test_check_wheel__changed_by_one_byte__error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a wheel that is not the pinned one being unpacked into the environment."""
    wheel = fake_wheel(tmp_path)
    known = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(install_detectron2, "pinned_hash", lambda: known)
    install_detectron2.check(wheel)
    with wheel.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(install_detectron2.InstallError, match="SHA-256"):
        install_detectron2.check(wheel)


def test_unpack__wheel__package_and_true_metadata_only(tmp_path: Path) -> None:
    """Catches the wheel's `tools` hiding ours, a binary of another Python, and metadata that makes `pip check` complain."""
    site = tmp_path / "site"
    (site / "detectron2").mkdir(parents=True)
    (site / "detectron2" / "stale.py").write_text("", encoding="utf-8")
    install_detectron2.unpack(fake_wheel(tmp_path), site)
    info = site / "sal_detectron2-0.7.2.dist-info"
    assert {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file() and p.parent != info} == {
        "detectron2/__init__.py"
    }
    assert "Tag: py3-none-any" in (info / "WHEEL").read_text(encoding="utf-8")
    assert re.findall(r"Requires-Dist: (.*)", (info / "METADATA").read_text(encoding="utf-8")) == ["numpy", "tqdm"]
    lines = (info / "RECORD").read_text(encoding="utf-8").splitlines()
    assert lines == ["detectron2/__init__.py,sha256=a,1", f"{info.name}/WHEEL,,", f"{info.name}/RECORD,,"]


def test_install__detectron2_present__left_alone() -> None:
    """Catches a user's own build being replaced."""
    assert install_detectron2.install().startswith("Detectron2: using ")


def test_constraints__each_dependency_of_pyproject__pinned() -> None:
    """Catches a dependency whose version is whatever is newest on the day of the set-up."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(need for name in extras if name not in {"all", "export"} for need in extras[name])]
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.M))
    assert {re.match(r"[\w.-]+", need)[0] for need in wanted} - pinned == set()


def test_lint_sizes__file_and_function_at_and_over_limit__only_over_reported(tmp_path: Path) -> None:
    """Catches a limit that is off by one, or tests being held to the functions' limit."""
    (tmp_path / "good.py").write_text("def f():\n" + "    x = 1\n" * 79 + "x = 1\n" * 420, encoding="utf-8")
    (tmp_path / "bad.py").write_text("def f():\n" + "    x = 1\n" * 80 + "x = 1\n" * 420, encoding="utf-8")
    found = [line for path in lint_sizes.python_files(tmp_path) for line in lint_sizes.too_large(path, is_test=False)]
    assert [line.partition(":")[2] for line in found] == [
        "1: 501 lines, at most 500. Split the file by idea.",
        "1: function f has 81 lines, at most 80. Split it.",
    ]
    assert len(list(lint_sizes.too_large(tmp_path / "bad.py", is_test=True))) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "usage: dense"),
        (["--help"], 0, "usage: dense"),
        (["--version"], 0, "dense 0."),
        (["trian"], 2, "Did you mean 'train'?"),
    ],
)
def test_command_line__no_command__code_and_hint(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches wrong usage that exits 0, and help that exits otherwise."""
    assert command_line.main(arguments) == code
    printed = capsys.readouterr()
    assert told in printed.out + printed.err


@pytest.mark.parametrize("error", [ConfigError("a.yaml: wrong key\nX"), ImportError("No module named 'torch'")])
def test_run__user_error__one_line_exit_1(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback, or several lines, for an error that the user can mend."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))

    def fail(_: list[str]) -> int:
        raise error

    assert command_line.run("dense train", fail, ["x"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert command_line.run("dense train", fail, ["x", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_run__fault_of_ours__not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a programming error being dressed as the user's."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    with pytest.raises(ZeroDivisionError):
        command_line.run("dense train", lambda _: 1 // 0, [])


def test_commands__each_target__exists() -> None:
    """Catches a command in the help that nobody can call."""
    missing = []
    for name in command_line.COMMANDS:
        try:
            command_line.load(name)
        except DenseError as error:
            missing.append(str(error))
    assert missing == []


def test_setup_py__metadata__imports_no_torch(tmp_path: Path) -> None:
    """Catches `pip install` failing because metadata needs torch before torch is installed."""
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')", encoding="utf-8")
    command = [sys.executable, "setup.py", "--quiet", "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+\.\d+\.\d+", done.stdout, flags=re.M)


def test_make_help__lists_targets() -> None:
    """Catches a Makefile that does not parse, and a target without its line in the help."""
    done = subprocess.run(["make", "help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {"setup", "demo", "test", "lint", "bench", "wheel", "clean"} <= set(
        re.findall(r"^  ([a-z-]+)", done.stdout, flags=re.M)
    )
