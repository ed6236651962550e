"""Loggers get the config, the metrics, the results and the plots, and whatever befalls them, a run goes on."""

import json
import struct
import time
from pathlib import Path

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from tests.conftest import only

BLOCK, HEADER = 32768, 7  # of the log's format, which is LevelDB's


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No credentials of the machine's, and no run left open."""
    for key in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    wandb.teardown()
    yield
    wandb.teardown()


def records(path):
    """The records of a .wandb file."""
    data, place, whole = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        whole += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


def whole(path):
    """Whether wandb's own process, which is behind on busy cores, has written all of a run."""
    try:
        return any(record.HasField("exit") for record in records(path))
    except Exception:  # half a record
        return False


def logged(run):
    """What the W&B runs in a run's folder hold: their ids, tags, config, history and the keys of their images."""
    ids, tags, config, history = set(), set(), {}, []
    for path in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        deadline = time.monotonic() + 30
        while not whole(path) and time.monotonic() < deadline:
            time.sleep(0.2)
        for record in records(path):
            if record.HasField("run"):
                ids.add(record.run.run_id)
                tags |= set(record.run.tags)
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("config"):
                config |= {item.key: json.loads(item.value_json) for item in record.config.update}
            if record.HasField("history"):
                items = record.history.item
                history.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return ids, tags, config, history


def test_offline_it_is_all_in_the_folder(tiny, plots):
    ended = tiny("logger=wandb", "logger.offline=true", "logger.tags=[mine]")
    assert "note: W&B logs offline: wandb sync runs/*/wandb/offline-run-* uploads it." in ended.out
    assert ended.code == 0 and (ended.out + ended.err).count("W&B") == 1
    run = only("digits-*")
    ids, tags, config, history = logged(run)
    assert ids == {run.name}
    assert tags == {"digits", "small_cnn", "packed", "mine"}
    assert config["method"]["M"] == 4 and config["recipe"]["epochs"] == 2
    assert [row["epoch"] for row in history if "val/acc" in row] == [0, 1]
    assert [row["epoch"] for row in history if "train/loss" in row] == [0, 1]
    results = json.loads((run / "results.json").read_text())
    (found,) = [row for row in history if "test/acc" in row]
    assert found["test/acc"] == results["test/acc"] and found["members/acc/1"] == results["members/acc"][1]
    images = {key.removesuffix("/_type") for row in history for key in row if key.endswith("/_type")}
    assert images == {f"plots/{path.stem}" for path in run.glob("*.png")} and images
    assert (run / "metrics.csv").exists()


def test_a_resumed_run_goes_on_with_its_own(tiny, monkeypatch):
    from ensembles.methods import Method

    def dies(self):
        if self.current_epoch == 1:
            raise RuntimeError("the machine is gone")

    options = ("logger=wandb", "logger.offline=true")
    with monkeypatch.context() as patch:
        patch.setattr(Method, "on_train_epoch_start", dies)
        assert tiny(*options).code == 1
    assert tiny(*options).code == 0
    run = only("digits-*")
    ids, _, _, history = logged(run)
    assert ids == {run.name}
    assert [row["epoch"] for row in history if "val/acc" in row] == [0, 1]
    assert tiny(*options, "force=true").code == 0
    (other,) = logged(run)[0]
    assert other != run.name and other.startswith(run.name)  # trained anew, it is another one


@pytest.mark.parametrize("key", ["", "0" * 40])
def test_without_credentials_or_connection_it_is_logged_offline(tiny, monkeypatch, key):
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    ended = tiny("logger=wandb", "+logger.wandb.patience=1", "recipe.epochs=1")
    assert ended.code == 0, ended.err
    said = [line for line in (ended.out + ended.err).splitlines() if "W&B" in line]
    assert len(said) == 1 and "so this run is logged offline: wandb sync" in said[0]
    run = only("digits-*")
    ids, _, _, history = logged(run)
    assert ids == {run.name} and any("test/acc" in row for row in history)


def test_tensorboard_has_metrics_results_and_plots(tiny, plots):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tiny("logger=[csv,tensorboard]").code == 0
    run = only("digits-*")
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert len(events.Scalars("val/acc")) == 2
    results = json.loads((run / "results.json").read_text())
    assert events.Scalars("test/acc")[0].value == pytest.approx(results["test/acc"])
    assert {f"plots/{path.stem}" for path in run.glob("*.png")} == set(events.Tags()["images"])


def test_only_the_first_process_logs(tmp_path, monkeypatch):
    from omegaconf import OmegaConf
    from pytorch_lightning.utilities import rank_zero_only

    from ensembles.runs import Run
    from ensembles.training.loggers import SafeLogger

    logger = SafeLogger("csv", OmegaConf.create({"_target_": "pytorch_lightning.loggers.CSVLogger"}), Run({}, tmp_path))
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics({"val/acc": 0.5}, 1)
    logger.publish({"test/acc": 0.5}, 1)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    logger.publish({"test/acc": 0.25}, 1)
    logger.finalize("success")
    (metrics,) = tmp_path.rglob("metrics.csv")
    assert "0.25" in metrics.read_text()


BROKEN = """
from pytorch_lightning.loggers import CSVLogger


class Broken(CSVLogger):
    def log_metrics(self, metrics, step=None):
        raise ConnectionError("the server is gone")
"""


def test_a_logger_that_fails_is_left_alone(tiny, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "conf/logger").mkdir(parents=True)
    (tmp_path / "conf/logger/broken.yaml").write_text("broken: {_target_: broken.Broken}\n")
    ended = tiny("logger=broken", "--config-dir", "conf")
    assert ended.code == 0, ended.err
    assert (ended.out + ended.err).count("logger=broken failed (the server is gone)") == 1
    ended = tiny("logger=broken", "logger.broken._target_=nowhere.Logger", "force=true", "--config-dir", "conf")
    assert ended.code == 0 and "logger=broken failed" in ended.out


def test_a_failed_run_does_not_leave_its_logger_to_the_next(tiny, monkeypatch):
    from ensembles.methods import Method

    calls = []

    def fails_once(self):
        calls.append(self)
        if len(calls) == 1:
            raise RuntimeError("out of luck")

    monkeypatch.setattr(Method, "on_train_epoch_start", fails_once)
    assert tiny("-m", "seed=0,1", "logger=wandb", "logger.offline=true", "recipe.epochs=1").code == 1
    runs = list(Path("runs").glob("digits-*"))
    assert len(runs) == 2
    for run in runs:
        assert logged(run)[0] == {run.name}
