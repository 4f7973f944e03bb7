"""The training command line end to end: train, crash, continue, evaluate, own data, wrong input."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dense.config.loading import load_config
from dense.engine.scoring import SCORERS
from dense.modeling.builder import build_model

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "data" / "configs" / "tiny.yaml"
TOOL = str(ROOT / "tools" / "train_net.py")
TIMES = ("time", "data_time")


def figures(folder):
    """Iteration → the run's figures without the clock's."""
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    found = {}
    for line in lines:
        found.setdefault(line["iteration"], {}).update({k: v for k, v in line.items() if k not in TIMES})
    return found


def one_error(outcome, *words):
    assert outcome.status == 1
    (line,) = outcome.err
    assert all(word in line for word in words), line


def assert_same_weights(a, b):
    """Bit for bit."""
    first, second = load_file(a / "model_final.safetensors"), load_file(b / "model_final.safetensors")
    assert set(first) == set(second)
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture
def environment(tiny_data):
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": str(tiny_data)}


@pytest.fixture(scope="module")
def finished(tiny_data, tmp_path_factory):
    """OUTPUT_DIR of a run of 4 steps."""
    import logging

    from dense.engine.command import main

    folder = tmp_path_factory.mktemp("run") / "finished"
    handlers = list(logging.getLogger().handlers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(tiny_data))
        assert main(["--config-file", str(TINY), "OUTPUT_DIR", str(folder)]) == 0
    logging.getLogger().handlers[:] = handlers
    return folder


def test_train__four_steps__leaves_everything_a_user_looks_for(finished):
    """Catches a run without checkpoint, figures, log, configuration or results."""
    names = {p.name for p in finished.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.json", "last_checkpoint", "model_final.safetensors", "inference"} <= names
    assert {"model_0000002.pth", "model_0000004.pth"} <= names
    assert (finished / "inference" / "results.json").is_file()
    assert figures(finished)[4]["total_loss"] > 0
    assert "test/AP" in figures(finished)[4]


def test_train__crashed_after_step_2_and_resumed__bit_equal(train, finished, tmp_path):
    """Catches data order, points, optimizer, schedule or averages that are not restored: the run would go on, but differ."""
    folder = tmp_path / "crashed"
    folder.mkdir()
    shutil.copy(finished / "model_0000002.pth", folder)
    (folder / "last_checkpoint").write_text("model_0000002.pth")
    (folder / "metrics.json").write_text('{"iteration": 1, "total_loss": 1.0}\n{"iteration": 2, "tot')  # cut off by the kill
    assert train("--resume", "OUTPUT_DIR", folder).status == 0
    found = figures(folder)
    assert set(found) == {1, 4}
    assert found[4] == figures(finished)[4]
    assert_same_weights(folder, finished)


def test_train__folder_with_a_run__is_refused_and_untouched(train, finished):
    """Catches weeks of training overwritten by a forgotten --resume, even its configuration or log alone."""
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    one_error(train("OUTPUT_DIR", finished, "SOLVER.MAX_ITER", "9"), str(finished), "--resume")
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


def test_train__resume_without_a_run__starts_at_0(train, finished, tmp_path):
    """Catches scripts that must know whether it is the first start."""
    assert train("--resume", "OUTPUT_DIR", tmp_path / "new").status == 0
    assert figures(tmp_path / "new") == figures(finished)
    assert_same_weights(tmp_path / "new", finished)


def test_eval_only__weights__results_and_figures_are_those_of_the_evaluator(train, finished, tiny_data, tmp_path):
    """Catches figures that are not those of the file, and the run's own configuration overwritten."""
    from dense.data.datasets import resolve_dataset
    from dense.evaluation import evaluate_video_instances

    config = (finished / "config.yaml").read_text()
    words = ("MODEL.WEIGHTS", finished / "model_final.safetensors", "OUTPUT_DIR", finished)
    (finished / "inference" / "results.json").unlink()
    outcome = train(*words, "--eval-only")
    assert outcome.status == 0
    results = finished / "inference" / "results.json"
    scores = evaluate_video_instances(resolve_dataset("world_valid").read(), results)
    (line,) = [line for line in outcome.out if "world_valid: AP" in line]
    assert f"AP {scores['AP']:.2f}  AP50 {scores['AP50']:.2f}" in line
    assert f"AR10 {scores['AR10']:.2f}" in line
    assert json.loads(results.read_text())
    assert (finished / "config.yaml").read_text() == config
    assert "model_final.safetensors" in (finished / "inference" / "config.yaml").read_text()


def test_eval_only__own_data_without_public_annotations__writes_results(train, finished, tiny_data, tmp_path):
    """Catches test sets of challenge servers that cannot be predicted, or a crash after all the work."""
    truth = json.loads((tiny_data / "world" / "valid.json").read_text())
    truth["annotations"] = None
    (tmp_path / "hidden.json").write_text(json.dumps(truth))
    images = tiny_data / "world" / "valid" / "JPEGImages"
    outcome = train(
        "--eval-only", "MODEL.WEIGHTS", finished / "model_final.safetensors", "OUTPUT_DIR", tmp_path / "out",
        "DATASETS.TEST", f'("{tmp_path / "hidden.json"}:{images}",)',
    )  # fmt: skip
    assert outcome.status == 0
    assert len([line for line in outcome.out if "evaluation skipped" in line]) == 1
    results = json.loads((tmp_path / "out" / "inference" / "results.json").read_text())
    assert {r["video_id"] for r in results} == {v["id"] for v in truth["videos"]}


def test_train__own_data_by_two_values__trains_and_scores(train, finished, tiny_data, tmp_path):
    """Catches own data that need code: the same files under other names must give the same numbers."""
    own = tmp_path / "my data"
    shutil.copytree(tiny_data / "world", own)
    sets = [f'("{own / split}.json:{own / split / "JPEGImages"}",)' for split in ("train", "valid")]
    outcome = train("DATASETS.TRAIN", sets[0], "DATASETS.TEST", sets[1], "OUTPUT_DIR", tmp_path / "out")
    assert outcome.status == 0
    assert figures(tmp_path / "out") == figures(finished)


def test_train__bfloat16_on_cpu__runs_close_to_full_precision(train, finished, tmp_path):
    """Catches parts that fail under autocast, and an option without effect."""
    outcome = train("OUTPUT_DIR", tmp_path, "SOLVER.AMP.ENABLED", "True", "DATASETS.TEST", "()")
    assert outcome.status == 0
    mixed, full = figures(tmp_path)[4]["total_loss"], figures(finished)[4]["total_loss"]
    assert mixed != full
    assert mixed == pytest.approx(full, rel=0.05)


def test_train__test_set_that_nothing_scores__refused_before_the_first_step(train, tmp_path, monkeypatch):
    """Catches a KeyError after the last step of a long training."""
    monkeypatch.delitem(SCORERS, "video_instance")
    outcome = train("OUTPUT_DIR", tmp_path / "run")
    one_error(outcome, "DATASETS.TEST: 'world_valid' (video_instance)", "image_panoptic", "DATASETS.TEST ()")
    assert not (tmp_path / "run").exists()


def test_train__outputs_not_finite__stops_and_names_the_files(train, tiny_data, tmp_path):
    """Catches days of training on NaN."""
    outcome = train("OUTPUT_DIR", tmp_path, "MODEL.PIXEL_STD", "[1e-40, 1e-40, 1e-40]")  # pixels beyond float32
    one_error(outcome, "NonFiniteError", "step 0", str(tiny_data / "world" / "train"), ".jpg")
    assert not list(tmp_path.glob("model_*"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("DATASETS.TRAIN", '("world_trian",)'), ("world_trian", "world_train")),
        (("DATASETS.TRAIN", '("ytvis_2019_train",)'), ("ytvis_2019/train.json", "DETECTRON2_DATASETS")),
        (("DATASETS.TEST", '("ytvis_2019_val",)'), ("ytvis_2019/valid.json", "DETECTRON2_DATASETS")),
        (("DATASETS.TEST", '("none.json:frames",)'), ("none.json",)),
        (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "30"), ("NUM_CLASSES", "world_valid", "30", "14")),
        (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "1"), ("NUM_CLASSES", "0 to 0")),
        (("MODEL.WEIGHTS", "none.pth"), ("none.pth",)),
        (("SOLVER.MAX_ITR", "3"), ("SOLVER.MAX_ITR", "SOLVER.MAX_ITER")),
        (("SOLVER.MAX_ITER", "many"), ("SOLVER.MAX_ITER", "many")),
        (("SOLVER.MAX_ITER",), ("SOLVER.MAX_ITER", "KEY VALUE")),
        (("--eval-only",), ("MODEL.WEIGHTS",)),
        (("--eval-only", "MODEL.WEIGHTS", "none.pth"), ("none.pth",)),
        (("--num-gpus", "0"), ("--num-gpus 0",)),
    ],
)
def test_train__wrong_input__is_one_line_before_any_step(train, tmp_path, words, expected):
    """Catches tracebacks, and mistakes (a missing test set) that would show only after the last step."""
    outcome = train("OUTPUT_DIR", tmp_path, *words)
    one_error(outcome, *expected)
    assert not list(tmp_path.glob("model_*"))


def test_train__output_folder_cannot_be_made__is_one_line(train, tmp_path):
    """Catches NotADirectoryError."""
    (tmp_path / "file").write_text("in the way")
    one_error(train("OUTPUT_DIR", tmp_path / "file" / "run"), str(tmp_path / "file" / "run"))


def test_train__help_and_wrong_usage__exit_0_and_2(train, capsys):
    """Catches exit codes that scripts cannot rely on."""
    from dense.engine.command import main

    assert train("--help").status == 0
    assert train("--no-such-option").status == 2
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_train__missing_configuration__is_one_line(train, tmp_path):
    """Catches FileNotFoundError."""
    one_error(train(config=tmp_path / "none.yaml"), "none.yaml")


@pytest.mark.slow
def test_train__killed_and_resumed__bit_equal(environment, tmp_path):
    """Catches a checkpoint that is only whole when the process ends well."""
    command = [sys.executable, TOOL, "--config-file", str(TINY), "SOLVER.MAX_ITER", "24", "DATASETS.TEST", "()", "OUTPUT_DIR"]
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, str(killed)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 300
    while not (killed / "last_checkpoint").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    assert not (killed / "model_final.safetensors").exists()
    for words in ([str(killed), "--resume"], [str(tmp_path / "whole")]):
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    resumed, whole = figures(killed), figures(tmp_path / "whole")
    assert set(whole) == {20, 24}
    assert resumed == whole
    assert_same_weights(killed, tmp_path / "whole")


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.slow
def test_train__two_processes__take_the_step_of_one(train, environment, tmp_path):
    """Catches videos seen twice or by nobody, gradients summed instead of averaged, and weights that drift apart.

    Points of the mask losses are drawn per process, so those losses cannot be equal; they are switched off, also in the
    matching, and the class loss weighs all queries alike, so that a mean over processes is the mean over the batch.
    """
    deterministic = (
        "MODEL.MASK_FORMER.MASK_WEIGHT", "0.0", "MODEL.MASK_FORMER.DICE_WEIGHT", "0.0",
        "MODEL.MASK_FORMER.NO_OBJECT_WEIGHT", "1.0", "SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", "0.05",
        "SOLVER.WARMUP_ITERS", "0", "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "4", "DATASETS.TEST", "()",
    )  # fmt: skip
    assert train(*deterministic, "OUTPUT_DIR", tmp_path / "one").status == 0
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    for name, words in (("two", deterministic), ("full", ("SOLVER.MAX_ITER", "2"))):
        command = [*start, TOOL, "--config-file", str(TINY), *words, "OUTPUT_DIR", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model_final.safetensors") for name in ("one", "two"))
    torch.manual_seed(42)  # SEED of the configuration: the weights before the first step
    before = build_model(load_config(TINY)).state_dict()
    assert max(float((one[k].float() - before[k].float()).abs().max()) for k in one) > 1e-3
    assert max(float((one[k].float() - two[k].float()).abs().max()) for k in one) < 1e-5
    results = json.loads((tmp_path / "full" / "inference" / "results.json").read_text())  # both processes' videos
    assert len({r["video_id"] for r in results}) == 2
    assert figures(tmp_path / "full")[2]["loss_mask"] > 0


@pytest.mark.slow
def test_train__num_gpus_2_without_gpus__starts_two_processes_and_passes_on_their_failure(environment, tmp_path):
    """Catches a traceback of the launcher in place of the processes' own message."""
    command = [
        sys.executable,
        TOOL,
        "--config-file",
        str(TINY),
        "--num-gpus",
        "2",
        "--dist-url",
        f"tcp://127.0.0.1:{free_port()}",
    ]
    words = ["SOLVER.MAX_ITER", "2", "DATASETS.TEST", "()", "OUTPUT_DIR", str(tmp_path / "run")]
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "holds a run already" in done.stderr
    done = subprocess.run([*command, "SOLVER.NOPE", "1"], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
