"""Hostile and damaged files, made from sound ones: checkpoints by what is changed in them, predictions likewise."""

import copy
import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

Change = Callable[[dict], object]


def commands(touched: Path) -> dict[str, dict]:
    """What would touch a file if it were called, as Hydra would call it."""
    shell = f"touch {touched}"
    python = f"import pathlib; pathlib.Path({str(touched)!r}).touch()"
    return {
        "collect_env": {"_target_": "torch.utils.collect_env.run", "command": shell},
        "os.system": {"_target_": "os.system", "command": shell},
        "subprocess": {"_target_": "subprocess.getoutput", "cmd": shell},
        "check_call": {"_target_": "subprocess.check_call", "args": shell, "shell": True},
        "eval": {"_target_": "builtins.eval", "_args_": [f"__import__('os').system({shell!r})"]},
        "exec": {"_target_": "builtins.exec", "_args_": [python]},
        "touch": {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(touched)]}},
        "joblib": {"_target_": "joblib.load", "filename": str(touched.with_name("hostile.pkl"))},
        "hub": {"_target_": "torch.hub.load", "repo_or_dir": str(touched.parent), "model": "x", "source": "local"},
        "sympify": {"_target_": "sympy.sympify", "a": f"__import__('os').system({shell!r})"},
        "hydra": {"_target_": "hydra.utils.call", "config": {"_target_": "os.system", "command": shell}},
        "through ours": {"_target_": "ensembles.methods.base.torch.utils.collect_env.run", "command": shell},
        "ours": {"_target_": "ensembles.build.call", "config": {"_target_": "os.system", "command": shell}},
        "load": {"_target_": "ensembles.predictor.load", "path": "x"},
        "partial": {"_target_": "os.system", "_partial_": True, "command": shell},
    }


def strings(touched: Path) -> dict[str, str]:
    """Strings that OmegaConf would make something else of."""
    return {
        "interpolation": "${oc.env:HOME}",
        "create": f"${{oc.create:{{_target_:torch.utils.collect_env.run,command:'touch {touched}'}}}}",
        "decode": f"${{oc.decode:'{{_target_: torch.utils.collect_env.run, command: touch {touched}}}'}}",
    }


PLACES: dict[str, Callable[[dict, object], object]] = {
    "num_classes": lambda about, value: about.update(num_classes=value),
    "in_channels": lambda about, value: about.update(in_channels=value),
    "image_size": lambda about, value: about.update(image_size=value),
    "method": lambda about, value: about.update(method=value),
    "model": lambda about, value: about.update(model=value),
    "likelihood": lambda about, value: about.update(likelihood=value),
    "method.M": lambda about, value: about["method"].update(M=value),
    "method.backbone": lambda about, value: about["method"].update(backbone=value),
    "model.width": lambda about, value: about["model"].update(width=value),
    "model.kwargs": lambda about, value: about["model"].update(kwargs=value),
    "in a list": lambda about, value: about["model"].update(width=[value]),
    "in a tuple": lambda about, value: about["model"].update(width=(value,)),
    "num_classes in a tuple": lambda about, value: about.update(num_classes=(value,)),
    "mean": lambda about, value: about.update(mean=value),
    "class_names": lambda about, value: about.update(class_names=[value]),
}


def hostile(touched: Path) -> Iterator[tuple[str, Change]]:
    """Changes of a checkpoint that would run a command, by their names."""
    for place, put in PLACES.items():
        for name, value in (commands(touched) | strings(touched)).items():
            yield f"code: {name} as {place}", lambda c, put=put, value=value: put(c["ensembles"], copy.deepcopy(value))
    outside = str(touched.with_name("hostile.pkl"))
    for kind in ("timm_model", "torchvision_model"):
        for name, kwargs in {
            "checkpoint of a dict": {"checkpoint_path": {"a": 1}},
            "a file of weights": {
                "pretrained_cfg": {"file": str(touched.with_name("hostile.pkl"))},
                "pretrained": True,
            },
            "an overlay": {"pretrained_cfg_overlay": {"file": str(touched.with_name("hostile.pkl"))}},
            "a cache": {"cache_dir": str(touched.parent)},
            "a path": {"norm_layer": outside},
            "a hub": {"act_layer": "hf-hub:x/y"},
            "weights": {"weights": "DEFAULT"},
            "other features": {"features_only": True},
            "a nested call": {"norm_layer": commands(touched)["os.system"]},
            "a device": {"device": "cuda:7"},
        }.items():
            model = {"_target_": f"ensembles.backbones.{kind}", "name": "resnet18", "width": 1, "kwargs": kwargs}
            yield f"code: {kind} with {name}", lambda c, model=model: c["ensembles"].update(model=model)
    for name in ("hf-hub:timm/resnet18", "local-dir:/tmp", "../x", "resnet18;ls"):
        model = {"_target_": "ensembles.backbones.timm_model", "name": name}
        yield f"code: timm's {name}", lambda c, model=model: c["ensembles"].update(model=model)
    yield (
        "code: other files",
        lambda c: c["ensembles"].update(
            method={
                "_target_": "ensembles.methods.DeepEnsemble",
                "checkpoints": [str(touched.with_name("hostile.pkl"))],
            }
        ),
    )


def _bomb(depth: int) -> list:
    value: list = [0]
    for _ in range(depth):
        value = [value, value]
    return value


def _loop() -> list:
    value: list = []
    value.append(value)
    return value


WRONG = {
    "none": None,
    "a string": "4",
    "a list": [4],
    "negative": -1,
    "zero": 0,
    "a float": 4.5,
    "a flag": True,
    "huge": 10**9,
    "endless": 10**30,
    "NaN": float("nan"),
    "a tensor": torch.ones(2),
    "bytes": b"4",
    "complex": 1j,
    "a set": {4},
}


def damaged() -> Iterator[tuple[str, Change]]:
    """Changes of a checkpoint's description or weights after which it is none."""
    for key in ("num_classes", "in_channels", "image_size"):
        for name, value in WRONG.items():
            yield f"description: {key} is {name}", lambda c, key=key, value=value: c["ensembles"].update({key: value})
    for key in ("method", "model", "num_classes", "in_channels", "image_size", "mean", "std", "class_names"):
        yield f"description: no {key}", lambda c, key=key: c["ensembles"].pop(key)
    for key in ("method", "model", "mean", "std", "class_names"):
        for name in ("none", "a string", "a tensor", "zero", "NaN"):
            value = WRONG[name]
            yield f"description: {key} is {name}", lambda c, key=key, value=value: c["ensembles"].update({key: value})
    for name in ("none", "a string", "a list", "negative", "zero", "a float", "huge", "endless", "NaN", "a tensor"):
        value = WRONG[name]
        yield f"description: M is {name}", lambda c, value=value: c["ensembles"]["method"].update(M=value)
    for name in ("none", "a string", "a list", "negative", "zero", "huge", "endless", "NaN", "a tensor"):
        value = WRONG[name]
        yield f"description: width is {name}", lambda c, value=value: c["ensembles"]["model"].update(width=value)
    yield "description: a list", lambda c: c.update(ensembles=[1])
    yield "description: empty", lambda c: c.update(ensembles={})
    yield "description: holds itself", lambda c: c["ensembles"].update(class_names=_loop())
    yield "description: unfolds", lambda c: c["ensembles"].update(class_names=_bomb(60))
    yield "description: ordered", lambda c: c["ensembles"].update(method=OrderedDict(c["ensembles"]["method"]))
    yield "description: mean of two", lambda c: c["ensembles"].update(mean=[0.0, 1.0], std=[1.0, 1.0])
    yield "description: another method", lambda c: c["ensembles"]["method"].update(_target_="ensembles.methods.MIMO")
    yield "description: a base class", lambda c: c["ensembles"]["method"].update(_target_="ensembles.methods.Method")
    yield "description: no such", lambda c: c["ensembles"]["model"].update(_target_="ensembles.backbones.nothing")
    yield "description: a method as model", lambda c: c["ensembles"].update(model=c["ensembles"]["method"])
    yield "description: another setting", lambda c: c["ensembles"]["model"].update(other=1)
    yield (
        "description: a likelihood",
        lambda c: c["ensembles"].update(likelihood={"_target_": "ensembles.likelihoods.Gaussian", "sd": "x"}),
    )
    wide = {"_target_": "ensembles.backbones.wrn", "depth": 28, "widen_factor": 10_000}
    deep = {"_target_": "ensembles.backbones.wrn", "depth": 1_198, "widen_factor": 10}
    swin = {
        "_target_": "ensembles.backbones.timm_model",
        "name": "swin_tiny_patch4_window7_224",
        "kwargs": {"window_size": 300, "img_size": 1200},
    }
    for name, model in {"wide": wide, "deep": deep, "with windows": swin}.items():
        yield f"size: too {name}", lambda c, model=model: c["ensembles"].update(model=model)
    yield "size: pixels", lambda c: c["ensembles"].update(image_size=16_384)
    yield "size: channels", lambda c: c["ensembles"].update(in_channels=100_000, image_size=100)
    yield "size: members", lambda c: c["ensembles"]["method"].update(M=512)

    weights = "state_dict"

    def first(change: Callable[[torch.Tensor], object]) -> Change:
        return lambda c: c[weights].update({next(iter(c[weights])): change(next(iter(c[weights].values())))})

    for name, value in {
        "none": None,
        "a list": [1],
        "empty": {},
        "by numbers": {1: torch.ones(1)},
        "of numbers": {"a": 1.0},
        "of others": {"a": torch.ones(1)},
    }.items():
        yield f"weights: {name}", lambda c, value=value: c.update({weights: value})
    for name, change in {
        "of another shape": lambda t: t[:1],
        "expanded": lambda t: torch.zeros(1).expand(10**6, 10**6),
        "of integers": lambda t: t.long(),
        "complex": lambda t: t.to(torch.complex64),
        "sparse": lambda t: t.to_sparse(),
        "a list": lambda t: t.tolist(),
        "a string": lambda t: "x",
        "nowhere": lambda t: t.to("meta"),
    }.items():
        yield f"weights: one is {name}", first(change)
    yield "weights: one is missing", lambda c: c[weights].pop(next(iter(c[weights])))
    yield "weights: one too many", lambda c: c[weights].update({"ensemble.other": torch.ones(1)})
    yield "entry: no state_dict", lambda c: c.pop(weights)
    yield "entry: no description", lambda c: c.pop("ensembles")


def unresumable() -> Iterator[tuple[str, Change]]:
    """Changes of a checkpoint after which no training can go on from it."""
    for key in ("loops", "optimizer_states", "lr_schedulers", "callbacks", "epoch", "global_step", "losses"):
        yield f"training: no {key}", lambda c, key=key: c.pop(key)
        for name in ("none", "a string", "a list", "a float", "a tensor"):
            value = WRONG[name]
            yield f"training: {key} is {name}", lambda c, key=key, value=value: c.update({key: value})
    yield "training: no version", lambda c: c.pop("pytorch-lightning_version")
    for version in (None, "x", "0.9.0", 2):
        yield f"training: version {version}", lambda c, v=version: c.update({"pytorch-lightning_version": v})

    def fit(checkpoint: dict) -> dict:
        return checkpoint["loops"]["fit_loop"]

    yield "training: no fit_loop", lambda c: c["loops"].pop("fit_loop")
    for key in ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"):
        yield f"training: no {key}", lambda c, key=key: fit(c).pop(key)
        yield f"training: {key} is a list", lambda c, key=key: fit(c).update({key: [1]})
    yield "training: no epochs", lambda c: fit(c)["epoch_progress"]["current"].pop("processed")
    for name in ("none", "a string", "negative", "a float", "NaN", "a tensor"):
        value = WRONG[name]
        yield f"training: epochs {name}", lambda c, v=value: fit(c)["epoch_progress"]["current"].update(processed=v)
        yield (
            f"training: batches {name}",
            lambda c, v=value: fit(c)["epoch_loop.batch_progress"]["current"].update(ready=v),
        )
    first = lambda c: c["optimizer_states"][0]  # noqa: E731
    yield "training: two optimisers", lambda c: c["optimizer_states"].append(first(c))
    yield "training: no optimiser", lambda c: c["optimizer_states"].clear()
    yield "training: no groups", lambda c: first(c).pop("param_groups")
    yield "training: no values", lambda c: first(c).pop("state")
    yield "training: groups are empty", lambda c: first(c)["param_groups"].clear()
    yield "training: a group is a string", lambda c: first(c).update(param_groups=["x"])
    yield "training: other parameters", lambda c: first(c)["param_groups"][0].update(params=[0])
    for key in ("lr", "momentum", "weight_decay", "initial_lr", "penalised"):
        yield f"training: {key} is a string", lambda c, key=key: first(c)["param_groups"][0].update({key: "x"})
    yield "training: no momentum", lambda c: first(c)["param_groups"][0].pop("momentum")
    yield "training: values of Adam", lambda c: first(c)["state"].update({0: {"exp_avg": torch.ones(1)}})
    yield "training: values too many", lambda c: first(c)["state"].update({99: {"momentum_buffer": torch.ones(1)}})
    for name, value in {"of another shape": torch.ones(1), "none": None, "a string": "x"}.items():
        yield f"training: momentum {name}", lambda c, v=value: first(c)["state"][0].update(momentum_buffer=v)
    yield "training: momentum NaN", lambda c: first(c)["state"][0]["momentum_buffer"].fill_(float("nan"))
    schedule = lambda c: c["lr_schedulers"][0]  # noqa: E731
    yield "training: no schedule", lambda c: c["lr_schedulers"].clear()
    for key in ("last_epoch", "base_lrs", "lr_lambdas"):
        yield f"training: no {key}", lambda c, key=key: schedule(c).pop(key)
        yield f"training: {key} is a string", lambda c, key=key: schedule(c).update({key: "x"})
    yield "training: best is a string", lambda c: c["callbacks"]["Checkpoints"].update(best="x")
    yield "training: no best", lambda c: c["callbacks"]["Checkpoints"].clear()
    yield "training: no rows", lambda c: c["callbacks"]["History"].clear()
    yield "training: rows of strings", lambda c: c["callbacks"]["History"].update(rows=["x"])
    yield "training: losses are empty", lambda c: c["losses"].clear()
    yield "training: a scaler", lambda c: c.update(MixedPrecision=[1])


def edited(path: Path, change: Change) -> bytes:
    """The checkpoint with a change."""
    contents = torch.load(path, weights_only=True)
    change(contents)
    file = io.BytesIO()
    torch.save(contents, file)
    return file.getvalue()


class Runs:
    """Touches a file when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return (Path.touch, (self.touched,))


def rewritten(contents: bytes, change: Callable[[zipfile.ZipInfo, bytes], bytes], compress: bool = False) -> bytes:
    """A zip archive whose parts are changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents)) as old, zipfile.ZipFile(file, "w") as new:
        for part in old.infolist():
            kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            new.writestr(part.filename, change(part, old.read(part)), kind)
    return file.getvalue()


def broken(path: Path, touched: Path) -> Iterator[tuple[str, bytes]]:
    """Files that are no checkpoints as bytes, by their names."""
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        yield f"file: {size} bytes", whole[:size]
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist() if part.file_size > 100}
    for name, data in parts.items():
        at = whole.index(data) + len(data) // 2
        yield f"file: a byte of {name}", whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    yield "file: a text", b"no checkpoint"
    yield "file: a pickle", pickle.dumps({"state_dict": {}, "ensembles": {}})
    yield "code: a pickle", pickle.dumps(Runs(touched))
    file = io.BytesIO()
    torch.save({"state_dict": {}, "ensembles": Runs(touched)}, file)
    yield "code: within torch's", file.getvalue()
    file = io.BytesIO()
    torch.save({"state_dict": {}, "ensembles": {}}, file, _use_new_zipfile_serialization=False)
    yield "file: of an old torch", file.getvalue()
    for kind in ([1], {}, torch.ones(1), None, 3):
        file = io.BytesIO()
        torch.save(kind, file)
        yield f"file: {type(kind).__name__} alone", file.getvalue()
    yield "file: compressed", rewritten(whole, lambda _, data: data, compress=True)
    yield (
        "file: a pickle of noise",
        rewritten(whole, lambda part, data: bytes(range(256)) if part.filename.endswith(".pkl") else data),
    )
    yield "file: no storages", rewritten(whole, lambda part, data: b"" if "/data/" in part.filename else data)
    yield "file: short storages", rewritten(whole, lambda part, data: data[:4] if "/data/" in part.filename else data)


def predictions(path: Path, touched: Path) -> Iterator[tuple[str, bytes]]:
    """Changed files of predictions, by their names."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    about = json.loads(arrays["about"].item())

    def written(compressed: bool = False, **changed) -> bytes:
        kept = {name: array for name, array in (arrays | changed).items() if array is not None}
        file = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(file, **kept)
        return file.getvalue()

    def saying(change: Change) -> bytes:
        said = copy.deepcopy(about)
        change(said)
        return written(about=np.array(json.dumps(said)))

    def likelihood(value: object) -> Change:
        return lambda said: said["config"]["data"].update(likelihood=value)

    for name, value in commands(touched).items():
        yield f"code: {name} as likelihood", saying(likelihood(value))
        nested = {"_target_": "ensembles.likelihoods.Gaussian", "sd": value}
        yield f"code: {name} in a likelihood", saying(likelihood(nested))
    for name, value in strings(touched).items():
        yield f"code: {name} as likelihood", saying(likelihood(value))
        yield (
            f"code: {name} in a likelihood",
            saying(likelihood({"_target_": "ensembles.likelihoods.Gaussian", "sd": value})),
        )
    yield "code: a pickled array", written(about=np.array([Runs(touched)], dtype=object))
    for key in ("config", "class_names", "classes", "groups"):
        yield f"about: no {key}", saying(lambda said, key=key: said.pop(key))
        for wrong in (None, 3, "x", [1]):
            yield f"about: {key} is {wrong!r}", saying(lambda said, key=key, wrong=wrong: said.update({key: wrong}))
    for key in ("data", "evaluation", "seed", "checkpoint"):
        yield f"about: no config.{key}", saying(lambda said, key=key: said["config"].pop(key))
        yield f"about: config.{key} is a list", saying(lambda said, key=key: said["config"].update({key: [1]}))
    yield "about: another setting", saying(lambda said: said["config"]["evaluation"].update(other=True))
    yield "about: no flag", saying(lambda said: said["config"]["evaluation"].update(restrict_classes="x"))
    yield "about: classes of strings", saying(lambda said: said["classes"].update(test=["a"]))
    yield "about: classes beyond", saying(lambda said: said["classes"].update(test=[10**6]))
    yield "about: groups beyond", saying(lambda said: said["groups"].update(test=[[10**6]]))
    for text in ("", "[", "[1]", "3", "NaN", "[" * 100_000):
        yield f"about: {text[:5]!r}", written(about=np.array(text))
    yield "about: a number", written(about=np.array(3))
    yield "about: none", written(about=None)
    yield "sets: none", written(sets=None)
    yield "sets: empty", written(sets=np.array([], dtype=str))
    yield "sets: numbers", written(sets=np.array([1]))
    yield "sets: another", written(sets=np.array(["nothing"]))
    yield "sets: twice", written(sets=np.array(["test", "test"]))
    logits, labels = arrays["test/logits"], arrays["test/labels"]
    for name, value in {
        "double": logits.astype("float64"),
        "flat": logits[0],
        "of no class": logits[:, :, :0],
        "of no member": logits[:0],
        "of fewer classes": logits[:, :, :1],
        "NaN": np.full_like(logits, np.nan),
        "texts": np.array(["a"]),
        "missing": None,
    }.items():
        yield f"logits: {name}", written(**{"test/logits": value})
    for name, value in {
        "fewer": labels[:-1],
        "beyond": labels * 0 + (10**6 if labels.dtype.kind == "i" else np.nan),
        "of halves": labels.astype("float16"),
        "columns": labels[:, None],
        "of the other kind": labels.astype("float32" if labels.dtype.kind == "i" else "int64"),
        "missing": None,
    }.items():
        yield f"labels: {name}", written(**{"test/labels": value})
    yield "accepted: numbers", written(**{"test/accepted": np.ones((3, 3))})
    yield "inputs: fewer", written(**{"test/inputs": np.ones((1, 1), dtype="float32")})
    yield "size: zeros", written(compressed=True, **{"test/logits": np.zeros((2, 4_000_000, 10), dtype="float32")})
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        yield f"file: {size} bytes", whole[:size]
    yield "file: a text", b"no archive"
