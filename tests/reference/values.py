"""The numbers that no rearrangement of the code may change: computed here, kept in the JSON files beside this one.

``python tests/reference/values.py`` records them anew, after a change that is meant to change them.
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # for train.py

import torch
from omegaconf import OmegaConf

METHODS = {
    "deterministic": [],
    "dropout": ["method.samples=2"],
    "deep_ensemble": ["method.M=2"],
    "packed": ["method.M=2", "method.gamma=2", "method.min_channels=4"],
    "naive_multihead": ["method.M=2"],
    "treenet": ["method.M=2"],
    "batch_ensemble": ["method.M=2"],
    "mixture": ["method.M=2", "method.grouping=flat"],
    "masksembles": ["method.M=2"],
    "mimo": ["method.M=2", "method.rho=0.5", "method.batch_repetition=2"],
}
SMALL = ["data=digits", "model=small_cnn", "seed=3", "data.train_size=320"]  # ten steps of 32 images an epoch
BATCHES = {
    "the batch": ["method=deterministic"],
    "two orders": ["method=deep_ensemble", "method.M=2"],
    "input repetition": ["method=mimo", "method.rho=0.5", "method.batch_repetition=2"],
    "shares": ["method=batch_ensemble", "method.deal=shares"],
    "mixup or cutmix": ["+data.mix._target_=ensembles.data.mixing.Mix", "+data.mix.mixup=0.2", "+data.mix.cutmix=1.0"],
    "flips and crops": ["data.augment.pad=2", "data.augment.flip=true"],
    "RandAugment": ["+data.augment.then={_target_: ensembles.data.rand_augment.RandAugment, magnitude: 9}"],
}
RUNS = [
    [],
    ["seed=1"],
    ["method=mimo", "method.M=2"],
    ["method=deep_ensemble", "model=small_cnn", "recipe.epochs=3"],
    ["method=packed", "model=resnet50", "data=cifar100"],
    ["method=mimo", "model=wrn28_10", "data=cifar10"],
    ["method=mixture", "model=wrn28_5", "data=cifar100"],
    ["method=batch_ensemble", "model=wrn28_10", "data=cifar10", "data.val_fraction=0"],
    ["method=dropout", "data=synthetic_regression"],
    ["method=masksembles", "model=timm", "model.name=resnet26", "data=cifar10", "trainer.precision=bf16-mixed"],
]
TIMED = ("cost/images_per_second", "cost/ms_per_image")


def machine() -> dict[str, str]:
    """Name what the last bits of a float depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model\t")), "")
    return {
        "torch": torch.__version__,
        "processor": f"{processor} {model}".strip(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


def batches() -> dict[str, list[str]]:
    """Digest the first three training batches: images as the network gets them, and labels."""
    return {name: [_digest(*batch) for batch in _batches(overrides)] for name, overrides in BATCHES.items()}


def structures() -> dict[str, dict]:
    """List every method's parameters, their number and their shapes."""
    found = {}
    for name, overrides in METHODS.items():
        state = _method([*SMALL, f"method={name}", *overrides]).state_dict()
        found[name] = {
            "parameters": sum(tensor.numel() for tensor in state.values()),
            "state": {key: list(tensor.shape) for key, tensor in state.items()},
        }
    return found


def runs() -> dict[str, str]:
    """Name the folders of ten configurations."""
    from ensembles.runs import Run

    found = {}
    for overrides in RUNS:
        config, choices = _composed(overrides)
        found[" ".join(overrides)] = Run.of(config, choices).folder.name
    return found


def trainings() -> dict[str, dict]:
    """Train every method for 20 steps, by the program that users run: each step's loss, and the results after it."""
    return {name: _training([f"method={name}", *overrides]) for name, overrides in METHODS.items()}


FILES = {"batches": batches, "structures": structures, "runs": runs, "trainings": trainings}


def recorded(name: str) -> dict:
    """Read what is kept under a name of `FILES`."""
    return json.loads((HERE / f"{name}.json").read_text())


def _training(overrides: list[str]) -> dict:
    import train
    from ensembles.methods import Method

    losses: list[float] = []
    step = Method.training_step

    def recording(self, batch):
        loss = step(self, batch)
        losses.append(loss.item())
        return loss

    arguments = [*SMALL, *overrides, "recipe.epochs=2", "recipe.optimizer.lr=0.01", "data.corrupted.source=null"]
    arguments += ["trainer.accelerator=cpu", "runtime.progress=false"]
    with tempfile.TemporaryDirectory() as folder, patch.object(Method, "training_step", recording):
        with patch.object(sys, "argv", ["train.py", *arguments, f"runs_dir={folder}"]):
            train.main()
        (results,) = Path(folder).glob("*/results.json")
        values = json.loads(results.read_text())
    return {"losses": losses, "results": {key: value for key, value in values.items() if key not in TIMED}}


def _batches(overrides: list[str]) -> Iterator[tuple[torch.Tensor, ...]]:
    from ensembles import build

    method = _method([*SMALL, *overrides])
    config, _ = _composed([*SMALL, *overrides])
    data = build.call(config["data"], batch_size=32, seed=config["seed"])
    data.deal = method.deal
    data.prepare_data()
    data.setup("fit")
    for _, batch in zip(range(3), data.train_dataloader(), strict=False):
        x, labels = data.on_after_batch_transfer(batch, 0)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
        yield (x * std + mean) * 255, labels * 1000


def _method(overrides: list[str]) -> torch.nn.Module:
    from ensembles import build

    config, _ = _composed(overrides)
    data = build.call(config["data"], batch_size=config["recipe"]["batch_size"], seed=config["seed"])
    torch.manual_seed(0)
    return build.method(build.description(OmegaConf.create(config), data))


def _composed(overrides: list[str]) -> tuple[dict, dict]:
    from hydra import compose

    from ensembles.cli.composing import checked, composing

    with composing():
        config = compose("train", overrides, return_hydra_config=True)
    choices = config.hydra.runtime.choices
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return checked(config), dict(choices)


def _digest(*tensors: torch.Tensor) -> str:
    """Hash shapes and numbers, these as integers, so that no processor's last bits count."""
    found = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.round().long().contiguous().numpy().tobytes())
    return found.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, patch.object(sys, "stdout", nowhere):
        yield


def main() -> None:
    for name, compute in FILES.items():
        with _quiet():
            values = compute()
        (HERE / f"{name}.json").write_text(json.dumps({"machine": machine(), "values": values}, indent=1) + "\n")
        print(HERE / f"{name}.json")


if __name__ == "__main__":
    main()
