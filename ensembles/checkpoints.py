"""Reading checkpoints: whole, of this architecture, and without running what they carry."""

import json
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ensembles.errors import UserError, reason
from ensembles.files import parse_json
from ensembles.renamed import by_present_names
from ensembles.untrusted import Unfit, refusal, require_network

ABOUT = "ensembles"  # the checkpoint's entry that describes how to build its network again
SAFETENSORS = ".safetensors"  # the suffix of a file of weights alone, whose description is JSON in its header
ORDERED = "collections OrderedDict"
MADE = re.compile(rf"{ORDERED}|torch\._utils _rebuild_tensor_v[23]|torch \w+Storage|torch (b?float|u?int|bool)\w*")
FORMAT = 2  # of what a training needs to go on; the weights of every format can be read


class Mismatch(UserError):
    """A sound checkpoint of another architecture."""


def read_checkpoint(path: str | Path, fix: str = "use another one") -> dict:
    """Read the checkpoint's contents, onto the CPU.

    Its description and weights are checked (`ensembles.untrusted`), so they can be used without further ado.

    Args:
        fix: what to do where it is damaged.

    Raises:
        UserError: missing, cut short, not of this project, or carrying anything but numbers and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}: name a run's folder or a checkpoint in it.")
    try:
        checkpoint, sizes = (_safetensors if path.suffix == SAFETENSORS else _pickled)(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} carries code or is no checkpoint, so it was not loaded; use one from ensembles train."
        ) from error
    except Exception as error:  # whatever a damaged pickle makes its reader raise
        raise refusal(path, error, fix) from error
    if not isinstance(checkpoint, dict) or ABOUT not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(f"{path} is no checkpoint of this project: it does not say which network it holds.")
    try:
        require_network(checkpoint[ABOUT])
        _require_weights(checkpoint["state_dict"], sizes)
    except Exception as error:  # a container whose attributes stand in for its methods, say
        raise refusal(path, error, fix) from error
    return checkpoint | {ABOUT: by_present_names(checkpoint[ABOUT])}


def _pickled(path: Path) -> tuple[object, Counter[int]]:
    """Read a training's checkpoint, and the sizes of its tensors' numbers in bytes."""
    sizes = _check_parts(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # mapped, a tensor cannot be told to be larger than what the file has for it
        return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=True), sizes


def _safetensors(path: Path) -> tuple[dict, Counter[int]]:
    """Read the same of a .safetensors file, whose reader compares the sizes in its header with the file."""
    with safe_open(path, framework="pt", device="cpu") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
        about = parse_json((file.metadata() or {}).get(ABOUT, "null"))
    sizes = Counter(value.untyped_storage().nbytes() for value in state.values())
    return ({"state_dict": state} if about is None else {ABOUT: about, "state_dict": state}), sizes


def write_safetensors(path: str | Path, about: dict, state: dict) -> None:
    """Write a network's description and weights, as `read_checkpoint` has them, to a .safetensors file.

    Raises:
        UserError: a module of the network keeps something else than tensors.
    """
    if other := next((name for name, value in state.items() if not isinstance(value, Tensor)), None):
        raise UserError(f"{path} can hold tensors alone, and {other} is none: keep the network's state in buffers.")
    tensors = {name: value.clone().contiguous() for name, value in state.items()}
    Path(path).write_bytes(save(tensors, {ABOUT: json.dumps(about)}))  # save_file lets nobody else read it


def _check_parts(path: Path) -> Counter[int]:
    """Compare the file's parts with their checksums, since `torch.load` does not; and none is larger than the file.

    Returns:
        the sizes of those that hold tensors' numbers, in bytes.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise Unfit("its parts are compressed")
        if sum(part.file_size for part in parts) > path.stat().st_size:
            raise Unfit("its parts are larger than itself")
        if damaged := archive.testzip():
            raise Unfit(f"its part {damaged} is damaged")
        for part in parts:
            if part.filename.endswith("/data.pkl"):
                _require_tensors_alone(archive.read(part))
    return Counter(part.file_size for part in parts if "/data/" in part.filename)


def _require_tensors_alone(pickled: bytes) -> None:
    """See that a pickle makes nothing but plain containers and tensors.

    `torch.load` lets more pass: bytearray, set or an encoding, by which a small file fills the memory, and tensors
    with attributes in the place of their methods.

    Raises:
        pickle.UnpicklingError: it makes something else.
    """
    ordered, last = set(), None  # where OrderedDict is kept; the last operation, but for keeping
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "DUP"):
            raise pickle.UnpicklingError(f"it has {operation.name}")
        if operation.name == "GLOBAL" and not MADE.fullmatch(argument):
            raise pickle.UnpicklingError(f"it makes {argument}")
        if last == ORDERED and "PUT" in operation.name:
            ordered.add(argument)
        elif last == ORDERED and operation.name != "EMPTY_TUPLE":  # it would copy what it is given
            raise pickle.UnpicklingError("it fills a dict otherwise than key by key")
        else:
            last = ORDERED if "GET" in operation.name and argument in ordered else argument


def _require_weights(state: object, sizes: Counter[int]) -> None:
    if not isinstance(state, dict) or not all(type(name) is str for name in state):
        raise Unfit("state_dict is no dict by names")
    for name, value in state.items():
        if name.endswith("_extra_state"):
            continue
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
            raise Unfit(f"state_dict.{name} is no tensor of numbers")
        if value.is_quantized or value.is_complex():
            raise Unfit(f"state_dict.{name} is a tensor of {value.dtype}")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise Unfit(f"state_dict.{name} says that it is larger than it is")
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    if Counter(storage.nbytes() for storage in storages.values() if storage.nbytes()) - sizes:
        raise Unfit("state_dict says that its tensors are of other sizes than they are")


def load_weights(method: nn.Module, path: str | Path, fix: str = "use another one") -> None:
    """Put the checkpoint's weights into a method of the same architecture.

    Raises:
        UserError: what `read_checkpoint` raises, or another architecture; the sentence names what differs.
    """
    put_weights(method, read_checkpoint(path, fix), path)


def put_weights(method: nn.Module, checkpoint: dict, path: str | Path) -> None:
    """Put the contents of a checkpoint, read from ``path``, into a method, likewise."""
    require_same(method, checkpoint, path)
    try:
        method.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # of a module that reads its state by itself
        raise Mismatch(f"{path} does not suit this network: {reason(error)}.") from error


def require_same(method: nn.Module, checkpoint: dict, path: str | Path) -> None:
    """See that the checkpoint has the method's weights by names, shapes and kinds.

    Raises:
        Mismatch: it has others; the sentence names the first.
    """
    own, kept = method.state_dict(), checkpoint["state_dict"]
    differs = next((f"{name} is missing there" for name in own if name not in kept), "")
    differs = differs or next((f"{name} is missing here" for name in kept if name not in own), "")
    for name, value in own.items():
        differs = differs or _difference(name, kept[name], value)
    if differs:
        raise Mismatch(
            f"{path} is a checkpoint of another architecture: {describe_architecture(checkpoint)}; {differs}."
        )


def _difference(name: str, there: object, here: object) -> str:
    if not isinstance(here, Tensor) or not isinstance(there, Tensor):
        return ""
    if there.shape != here.shape:
        return f"{name} is {tuple(there.shape)} there and {tuple(here.shape)} here"
    if there.is_floating_point() != here.is_floating_point():
        return f"{name} is {there.dtype} there and {here.dtype} here"
    return ""


def describe_architecture(checkpoint: dict) -> str:
    """Write the settings of the checkpoint's method and model as overrides on a command line."""
    about = checkpoint[ABOUT]
    settings = [
        f"{group}.{key}={value}"
        for group in ("method", "model")
        for key, value in about[group].items()
        if isinstance(value, int | float | str) and key != "_target_"
    ]
    names = (about["method"]["_target_"].rpartition(".")[2], about["model"]["_target_"].rpartition(".")[2])
    return f"it holds {names[0]} on {names[1]} ({', '.join(settings)})"
