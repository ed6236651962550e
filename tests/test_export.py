"""scripts/export.py: one file that predicts as the checkpoint does."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch

import ensembles
from ensembles import build, export
from ensembles.checkpoints import ABOUT
from ensembles.errors import UserError

METHODS = {
    "deterministic": {"_target_": "ensembles.methods.Deterministic"},
    "packed": {"_target_": "ensembles.methods.Packed", "M": 2},
    "mimo": {"_target_": "ensembles.methods.MIMO", "M": 2},
    "dropout": {"_target_": "ensembles.methods.Dropout", "samples": 2},
    "naive_multihead": {"_target_": "ensembles.methods.NaiveMultihead", "M": 2},
    "treenet": {"_target_": "ensembles.methods.TreeNet", "M": 2},
    "batch_ensemble": {"_target_": "ensembles.methods.BatchEnsemble", "M": 2},
}
MODEL = {"_target_": "ensembles.backbones.wrn", "depth": 10, "widen_factor": 1}


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of a method that has seen a batch, and give its path."""

    def write(name):
        about = {"method": METHODS[name], "model": MODEL, "num_classes": 4, "in_channels": 3, "image_size": 8}
        method = build.method(about)
        method(torch.randn(16, 3, 8, 8))
        about |= {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "class_names": list("abcd")}
        torch.save({"state_dict": method.state_dict(), ABOUT: about}, tmp_path / "model.ckpt")
        return tmp_path / "model.ckpt"

    return write


def images(size):
    return torch.randint(256, (size, 3, 8, 8), dtype=torch.uint8)


@pytest.mark.parametrize("name", METHODS)
def test_torch_export_predicts_as_the_checkpoint(checkpoint, tmp_path, name):
    path = checkpoint(name)
    export.export(path, tmp_path / "model.pt2", members=True)
    run = torch.export.load(tmp_path / "model.pt2").module()
    for size in (1, 7):
        x = images(size)
        expected = ensembles.load(path).predict(x, details=True)
        mean, members = run(x)
        torch.testing.assert_close(mean, expected.probabilities, rtol=0, atol=1e-5)
        torch.testing.assert_close(members, expected.members, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["packed", "dropout", "treenet"])
def test_onnx_predicts_as_the_checkpoint(checkpoint, tmp_path, name):
    path = checkpoint(name)
    export.export(path, tmp_path / "model.onnx", floats=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for size in (1, 7):
        x = images(size) / 255
        (mean,) = session.run(["probabilities"], {"images": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(mean), ensembles.load(path).predict(x), rtol=0, atol=1e-5)


def test_the_script_writes_one_file_that_needs_no_torch(checkpoint, tmp_path, monkeypatch, capsys):
    path = checkpoint("deterministic")
    from ensembles.commands import export as program

    monkeypatch.setattr(sys, "argv", ["export.py", str(path), str(tmp_path / "model.onnx"), "--members"])
    program.main()
    assert "predicts as the checkpoint does" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {"model.ckpt", "model.onnx"}
    x = images(3)
    np.save(tmp_path / "x.npy", x.numpy())
    code = (
        "import sys, numpy, onnxruntime;"
        "session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider']);"
        "mean, members = session.run(None, {'images': numpy.load('x.npy')});"
        "numpy.save('mean.npy', mean); assert members.shape == (1, 3, 4) and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = ensembles.load(path).predict(x).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "mean.npy"), expected, atol=1e-5)


def said_by(path):
    """A file's metadata, read without this package."""
    if path.suffix == ".pt2":
        extra = {export.METADATA: ""}
        torch.export.load(path, extra_files=extra)
        return json.loads(extra[export.METADATA])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.get_modelmeta()
    assert found.description == found.custom_metadata_map["description"]
    return {k: v if k == "description" else json.loads(v) for k, v in found.custom_metadata_map.items()}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("floats", [False, True])
def test_a_file_says_what_it_takes_and_where_it_comes_from(checkpoint, tmp_path, suffix, floats):
    path, out = checkpoint("mimo"), tmp_path / f"model{suffix}"
    export.export(path, out, members=True, floats=floats)
    said = said_by(out)
    kind, top = ("float32", 1) if floats else ("uint8", 255)
    assert said["input"] == {"name": "images", "dtype": kind, "range": [0, top], "shape": ["batch", 3, 8, 8]}
    assert f"images as {kind} from 0 to {top} of shape (batch, 3, 8, 8)" in said["description"]
    assert said["outputs"] == {"probabilities": ["batch", 4], "members": [2, "batch", 4]}
    assert said["class_names"] == list("abcd") and said["members"] == 2
    assert said["normalisation"]["mean"] == pytest.approx([0.4, 0.5, 0.6])
    assert said["method"] == METHODS["mimo"] and said["model"] == MODEL
    assert said["source"]["checkpoint"] == str(path)
    if suffix == ".onnx":
        import onnx

        graph = onnx.load(out).graph
        assert all(port.doc_string == said["description"] for port in (*graph.input, *graph.output))


def test_a_network_of_ones_own_from_its_own_folder(call, tmp_path, monkeypatch):
    """As the README has it: mine.py lies in the working directory, and trusting it swallows nothing that follows."""
    from ensembles.commands import export as program

    (tmp_path / "lines.py").write_text(
        "from torch import nn\n"
        "def network(num_classes, in_channels, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))\n"
    )
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    about = {"method": METHODS["deterministic"], "model": {"_target_": "lines.network"}}
    about |= {"num_classes": 4, "in_channels": 3, "image_size": 8}
    about |= {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "class_names": list("abcd")}
    sys.path.append(str(tmp_path))
    state = build.method(about).state_dict()
    sys.path.remove(str(tmp_path))
    sys.modules.pop("lines")
    torch.save({"state_dict": state, ABOUT: about}, "own.ckpt")
    refused = call(program, "own.ckpt", "own.pt2")
    assert refused.code == 1 and "--trust lines" in refused.err
    ended = call(program, "--trust", "lines", "own.ckpt", "own.pt2")
    assert ended.code == 0, ended.err
    assert "images as uint8 from 0 to 255 of shape (batch, 3, 8, 8)" in ended.out


def test_folded_members_are_written_with_plain_weights(checkpoint):
    ensemble = ensembles.load(checkpoint("batch_ensemble")).ensemble
    written = export.plain(ensemble)
    backbone = build.call(MODEL, num_classes=4, in_channels=3, image_size=8)
    for network in written.networks:
        assert network.state_dict().keys() == backbone.state_dict().keys()
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(written(x), ensemble(x))


def test_a_file_that_predicts_otherwise_is_not_kept(checkpoint, tmp_path, monkeypatch):
    path = checkpoint("packed")
    out = tmp_path / "model.pt2"
    out.write_text("an earlier one")
    plain = export.plain

    def astray(ensemble):
        with torch.no_grad():
            next(ensemble.parameters()).add_(0.1)
        return plain(ensemble)

    monkeypatch.setattr(export, "plain", astray)
    with pytest.raises(UserError, match="was not kept, since its probabilities differ"):
        export.export(path, out)
    assert out.read_text() == "an earlier one"
    assert {file.name for file in tmp_path.iterdir()} == {"model.ckpt", "model.pt2"}


def test_refuses(checkpoint, tmp_path, monkeypatch):
    path = checkpoint("deterministic")
    with pytest.raises(UserError, match=r"must end in \.pt2 or \.onnx"):
        export.export(path, tmp_path / "model.pt")
    with pytest.raises(UserError, match="There is no checkpoint"):
        export.export(tmp_path / "none.ckpt", tmp_path / "model.pt2")
    with pytest.raises(UserError, match="Cannot write"):
        export.export(path, tmp_path / "nowhere" / "model.pt2")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match="ONNX needs the package onnxscript"):
        export.export(path, tmp_path / "model.onnx")
