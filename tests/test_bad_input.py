"""Input that cannot work ends in one sentence and exit code 1, before anything is trained or damaged."""

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ensembles.commands import STOPPED
from ensembles.errors import UserError
from tests.conftest import one_sentence

CASES = {
    "method.alhpa=2": "There is no key method.alhpa: did you mean method.alpha?",
    "method=pakced": "There is no method=pakced: did you mean packed?",
    "mdoel=mlp": "did you mean model?",
    "method.M=0": "method.M is 0, but must be an integer from 1 to 1000.",
    "method.M=two": "method.M is 'two'",
    "method.alpha=0": "method.alpha is 0, but must be a number above 0.",
    "method.gamma=-1": "method.gamma is -1",
    "recipe.epochs=0": "recipe.epochs is 0",
    "recipe.optimizer.lr=-0.1": "recipe.optimizer.lr is -0.1",
    "data.val_fraction=1": "data.val_fraction is 1",
    "data.train_size=3": "data.train_size is 3",
    "data.classes=[0,17]": "data.classes has 17",
    "test_on=first": "test_on is 'first', but must be best or last.",
    "train=false": "train=false needs a checkpoint to evaluate: ckpt_path=<path>.",
    "ckpt_path=nowhere.ckpt": "nowhere.ckpt",
    "trainer.devices=2": "trainer.devices=2 needs strategy=ddp",
    "trainer.num_nodes=2": "trainer.num_nodes=2 needs strategy=ddp",
    "+trainer.limit_val_batches=0": "trainer.limit_val_batches=0 leaves nothing to validate on",
    "seed=-1": "seed is -1",
    "method.M=1.5": "method.M is 1.5",
    "method.M=[": "The command line cannot be read",
    "method.alpha=1000": "method.alpha is 1000, but must be at most 100 times method.M, 400.",
    "recipe.optimizer.foo=1": "There is no key recipe.optimizer.foo",
    "+recipe.optimizer.foo=1": "foo",
    "+trainer.foo=1": "trainer: ",
    "+method.foo=1": "does not take its settings",
    "+model.foo=1": "does not take its settings",
}


@pytest.mark.parametrize("argument", CASES)
def test_an_argument_that_cannot_work(tiny, argument):
    assert CASES[argument] in one_sentence(tiny(argument))
    assert not list(Path(".").rglob("*.ckpt"))


def test_several_machines_of_which_no_other_takes_part(tiny, monkeypatch):
    """Lightning would wait for them for ever; a job's config is composed, and its run begun, where srun starts it."""
    arguments = ("method=deterministic", "trainer.num_nodes=2", "strategy=ddp")
    assert "trainer.num_nodes=2 would wait for processes" in one_sentence(tiny(*arguments))
    assert not Path("runs").exists()
    assert "num_nodes: 2" in tiny(*arguments, "--cfg", "job").out
    monkeypatch.setattr("ensembles.experiment.launch", lambda *_: open("begun", "w").close())
    for started in ({"LOCAL_RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}):
        with monkeypatch.context() as patch:
            for key, value in started.items():
                patch.setenv(key, value)
            tiny(*arguments)
        Path("begun").unlink()


def test_a_deep_ensemble_of_no_checkpoints(tiny):
    assert tiny("method=deep_ensemble", "method.M=1", "method.checkpoints=null", "recipe.epochs=1").code == 0


def test_rho_outside_its_range(tiny):
    assert "method.rho is 1.5, but must be a number from 0 to 1." in one_sentence(tiny("method=mimo", "method.rho=1.5"))


def test_an_unknown_name_of_a_library(tiny):
    assert "did you mean" in one_sentence(tiny("model=timm", "model.name=resnet50q"))
    assert "model.name has no value" in one_sentence(tiny("model=torchvision"))


@pytest.mark.parametrize("method", ["mixture", "packed"])
def test_pretrained_weights_of_which_nothing_would_be_left(tiny, method):
    said = one_sentence(tiny(f"method={method}", "model=timm", "model.name=resnet10t", "model.pretrained=true"))
    assert "nothing would be left of model.pretrained: set it to false." in said


def test_one_bad_value_of_a_sweep_stops_it_before_any_run(tiny):
    assert "method.alpha is -1" in one_sentence(tiny("-m", "method.alpha=1,-1"))
    assert not Path("runs").exists()


def test_missing_data(tiny):
    assert "data.root" in one_sentence(tiny("data=image_folder"))
    Path("photos/train/cat").mkdir(parents=True)
    assert "photos/train/cat" in one_sentence(tiny("data=image_folder", "data.root=photos"))


def test_a_checkpoint_of_another_architecture(tiny):
    tiny("method=mimo", "runs_dir=mimo")
    (checkpoint,) = Path("mimo").glob("*/best.ckpt")
    ended = tiny("train=false", f"ckpt_path={checkpoint}", "data.classes=[0,1,2]")
    assert "another architecture: it holds MIMO on small_cnn (method.M=3" in one_sentence(ended)


def test_damaged_and_hostile_checkpoints(tiny, tmp_path):
    tiny()
    (checkpoint,) = Path("runs").glob("*/best.ckpt")
    whole = checkpoint.read_bytes()
    for size in (0, 100, len(whole) // 2):
        Path("cut.ckpt").write_bytes(whole[:size])
        assert "cut.ckpt" in one_sentence(tiny("train=false", "ckpt_path=cut.ckpt"))

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {}, "ensembles": Hostile()}, "hostile.ckpt")
    assert "carries code" in one_sentence(tiny("train=false", "ckpt_path=hostile.ckpt"))
    Path("raw.ckpt").write_bytes(pickle.dumps(Hostile()))
    one_sentence(tiny("train=false", "ckpt_path=raw.ckpt"))
    assert not (tmp_path / "ran").exists()


def test_a_run_folder_that_cannot_be_written(tiny):
    Path("runs").write_text("a file in the way")
    assert "set runs_dir" in one_sentence(tiny())


def test_a_sweep_folder_that_cannot_be_written(tiny):
    Path("sweeps").write_text("a file in the way")
    assert "set sweeps_dir" in one_sentence(tiny("-m", "method.M=2,4"))


@pytest.mark.slow
def test_a_full_disk(tiny):
    """A limit on the size of files stands in for it: the checkpoint does not fit."""
    tiny("runs_dir=first")
    before = {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        ended = tiny("seed=1", "runs_dir=first")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "free space" in one_sentence(ended)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(Path("first").rglob("*.json")) or len(list(Path("first").rglob("results.json"))) == 1


def test_two_processes_do_not_share_a_folder(tiny):
    import fcntl

    tiny("recipe.epochs=1")
    (folder,) = Path("runs").iterdir()
    (folder / "results.json").unlink()
    with open(folder / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is being worked on by process" in one_sentence(tiny("recipe.epochs=1"))


def test_settings_that_cannot_work_are_one_sentence(tiny):
    for argument in ("runs_dir=null", r"data.root='x\[/]'", "method=glob(*)", "+foo=1"):
        ended = tiny(argument)
        assert ended.code == 0 or one_sentence(ended)
    assert r"data.ood.mine=x\[/] is not a folder" in one_sentence(tiny(r"data.ood={mine:'x\[/]'}"))


def test_no_logger_at_all(tiny):
    assert tiny("logger=[]").code == 0


@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_sweep_folder_that_holds_nothing(tiny, kind, monkeypatch):
    """Stands in for a file system that is read-only or full: files in the folder of sweeps cannot be written."""
    from ensembles import files

    begun, code = os.replace, {"read-only": errno.EROFS, "full": errno.ENOSPC}[kind]

    def replace(source, target):
        if "sweeps" in str(target):
            raise OSError(code, os.strerror(code), str(target))
        begun(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    assert "index.json" in (said := one_sentence(tiny("-m", "seed=0,1"))) and "set sweeps_dir" in said
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_sweep_whose_table_cannot_be_written(tiny, monkeypatch):
    from ensembles import sweeps

    def write_csv(path, rows):
        raise UserError(f"Cannot write {path} (No space left on device): free space or choose another folder.")

    monkeypatch.setattr(sweeps, "write_csv", write_csv)
    ended = tiny("-m", "seed=0,1", "recipe.epochs=1")
    assert "table.csv" in one_sentence(ended)
    assert "done" in ended.out


@pytest.mark.parametrize("milliseconds", [250, 400, 900, 1100])
def test_ctrl_c_while_the_program_starts(milliseconds, tmp_path):
    root = Path(__file__).parents[1]
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import ast, difflib, importlib"], check=True)
    milliseconds += 1000 * (time.monotonic() - begun)  # what Python itself takes on a busy machine
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", root / "train.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines() == ["Stopped by Ctrl-C: the same command goes on from what is saved."]


@pytest.mark.parametrize(("name", "said"), [("describe", b""), ("train", STOPPED)])
def test_ctrl_c_while_a_command_is_imported(name, said, tmp_path):
    code = f"""
import os, signal, sys
from ensembles.commands import run

class Interrupts:
    @staticmethod
    def find_spec(module, *_):
        if module == "ensembles.commands.{name}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts)
sys.argv = ["ensembles {name}", "method=mimo"]
run("{name}")
"""
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", said)
