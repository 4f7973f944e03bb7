"""The doctor: findings, remedies, exit codes; also where nothing is installed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dense import doctor, install_detectron2

ROOT = Path(__file__).resolve().parent.parent


def broken() -> Iterator[doctor.Finding]:
    """A part whose library is there but does not load, as a binary built for another torch."""
    raise OSError("undefined symbol:\n _ZN3c10")
    yield


def fine() -> Iterator[doctor.Finding]:
    """A part that is as it should be."""
    yield doctor.Finding("part", "1.0")


def test_findings__part_raises__missing_with_reason_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a doctor that dies of the fault it should report, or hides the rest of the report."""
    monkeypatch.setattr(doctor, "_PARTS", {"sick": (broken, "Build it anew"), "part": (fine, "")})
    sick, part = doctor.findings()
    assert (sick.name, sick.state, sick.remedy) == ("sick", "missing", "Build it anew.")
    assert sick.value == "OSError: undefined symbol: _ZN3c10"
    assert part.state == "ok"


def test_main__something_missing__exit_1_and_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an exit code that says all is well when it is not."""
    monkeypatch.setattr(doctor, "_PARTS", {"sick": (broken, "Build it anew")})
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "-> Build it anew." in printed
    assert printed.endswith("Not usable: sick.\n")


def test_main__only_notes__exit_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a note (usable, could be better) being counted as a fault."""
    note = doctor.Finding("operators", "fallback", "note", "Compile them.")
    monkeypatch.setattr(doctor, "_PARTS", {"operators": (lambda: iter([note]), "")})
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.endswith("All usable.\n")


def test_main__json__has_findings_and_versions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches JSON that programs cannot read, or an own field missing from it."""
    monkeypatch.setattr(doctor, "_PARTS", {"part": (fine, "")})
    assert doctor.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["usable"] is True
    assert told["findings"] == [{"name": "part", "value": "1.0", "state": "ok", "remedy": ""}]
    assert set(told["packages"]["numpy"]) == {"installed", "pinned"}


def test_main__install_detectron2__same_installer_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an installer that only a checkout has, and a failure that looks like success."""
    monkeypatch.setattr(install_detectron2, "install", lambda: "Detectron2: installed.")
    assert doctor.main(["--install-detectron2"]) == 0
    assert capsys.readouterr().out == "Detectron2: installed.\n"

    def fail() -> str:
        raise install_detectron2.InstallError("Detectron2: no network.")

    monkeypatch.setattr(install_detectron2, "install", fail)
    assert doctor.main(["--install-detectron2"]) == 1
    assert capsys.readouterr().err == "Detectron2: no network.\n"


def test_findings__this_environment__every_remedy_present() -> None:
    """Catches a finding without a remedy, and a part that the doctor itself cannot look at."""
    found = doctor.findings()
    assert {"python", "torch", "detectron2", "operators", "video", "packages"} <= {f.name for f in found}
    assert all(f.remedy for f in found if f.state != "ok")
    assert not [f.value for f in found if f.value.startswith(("AttributeError", "TypeError", "KeyError"))]


def test_pins__marker_of_another_python__not_taken() -> None:
    """Catches the pins of Python 3.10 being compared on 3.11, and the other way round (NumPy 2.3 and later need 3.11)."""
    minor = int(doctor.pins()["numpy"].split(".")[1])
    assert (minor >= 3) == (sys.version_info >= (3, 11))


def test_doctor__no_packages_at_all__reports_and_exits_1() -> None:
    """Catches an import of a third-party package in the doctor: it must run before anything is installed."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from dense.doctor import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 1, done.stderr
    assert "No module named 'torch'" in done.stdout
    assert "make setup" in done.stdout
