"""Try every method on a small variant of each family of timm's and torchvision's classifiers, and write the table.

What has been tried is kept in results/backbones.json and not tried again.
"""

import argparse
import copy
import json
import sys
import time
import warnings
from pathlib import Path

import yaml
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

import torch
from torch import Tensor, nn

from ensembles import methods
from ensembles.backbones import timm_model, torchvision_model
from ensembles.backbones.resize import parameter_count
from ensembles.backbones.trace import LAYERS, trace
from ensembles.errors import UserError

ROOT = Path(__file__).parents[1]
FAMILIES = Path(__file__).with_suffix(".yaml")
RESULTS = ROOT / "results" / "backbones.json"
TABLE = ROOT / "docs" / "backbones.md"
LIBRARIES = {"timm": timm_model, "torchvision": torchvision_model}
METHODS = {
    "deterministic": methods.Deterministic,
    "dropout": methods.Dropout,
    "deep_ensemble": methods.DeepEnsemble,
    "packed": methods.Packed,
    "mimo": methods.MIMO,
    "mixture": methods.Mixture,
    "batch_ensemble": methods.BatchEnsemble,
    "masksembles": methods.Masksembles,
    "treenet": methods.TreeNet,
    "naive_multihead": methods.NaiveMultihead,
}
HEAD = """# Every method on every family

`python scripts/backbones.py` tries each method, at its default settings, on a small variant of each family of timm's
and torchvision's classifiers (`scripts/backbones.yaml`), unpretrained, and writes this page. In a cell with yes the
ensemble gives logits (M, B, K), a training step has a finite loss, no number of a member's own moves another member's
logits, and `packed` has within 15 % of the parameters that its paper has, alpha²/M of the layers' weights and alpha of
what is linear in the width, or a note says why not."""
CLASSES, BATCH, SIZE = 10, 2, 64
TOLERANCE = 0.15  # of packed's parameters


def families() -> dict[str, dict]:
    """List what is tried, by its library and family."""
    listed = yaml.safe_load(FAMILIES.read_text())
    return {f"{library}/{family}": row for library, rows in listed.items() for family, row in rows.items()}


def build(key: str, row: dict) -> tuple[nn.Module, tuple[int, ...]]:
    """Build a family's variant, and give one input's shape."""
    size = row.get("image_size", SIZE)
    settings = {setting: row[setting] for setting in ("kwargs", "width") if setting in row}
    network = LIBRARIES[key.partition("/")[0]](row["name"], CLASSES, image_size=size, **settings)
    return network, (3, size, size)


def attempt(method: str, network: nn.Module, input_shape: tuple[int, ...]) -> str:
    """Build an ensemble, train a step, and see that its members are apart; gives a note, or nothing.

    Raises:
        UserError: the method refuses the network.
    """
    module = METHODS[method](lambda: copy.deepcopy(network), input_shape)
    own_inputs = method == "mimo"
    M = module.ensemble.M
    x = torch.randn(M, BATCH, *input_shape) if own_inputs else torch.randn(BATCH, *input_shape)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    logits = module.train()(x)
    loss = module.loss(logits, torch.arange(BATCH).expand(len(logits), -1))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss), f"has a loss of {float(loss)}"
    assert all(torch.isfinite(p).all() for p in module.parameters()), "has parameters that are not finite"
    logits = module.eval()(x)
    assert logits.shape == (M, BATCH, CLASSES), f"gives {tuple(logits.shape)}"
    require_apart(module, logits)
    return size_note(module, network, input_shape) if method == "packed" else ""


def require_apart(module: nn.Module, logits: Tensor) -> None:
    """See that no number of the members' own moves two members' logits; MIMO's inputs all reach the shared body."""
    first = module.ensemble.first if isinstance(module, methods.MIMO) else ()
    inputs = {f"network.{name}.weight" for name in first}
    names = {id(parameter): name for name, parameter in module.ensemble.named_parameters()}
    own = [parameter for parameter in module.ensemble.own_parameters() if names[id(parameter)] not in inputs]
    if len(logits) == 1 or not own:
        return
    one, other = (torch.autograd.grad(logits[m].sum(), own, retain_graph=True, allow_unused=True) for m in (0, 1))
    moved = [[grad is not None and grad.nan_to_num(0, 0, 0).bool() for grad in grads] for grads in (one, other)]
    for mine, theirs in zip(*moved, strict=True):
        assert mine is False or theirs is False or not (mine & theirs).any(), "has members that share numbers"
    assert any(mine is not False and mine.any() for mine in moved[0]), "has a member that learns nothing"


def size_note(module: nn.Module, network: nn.Module, input_shape: tuple[int, ...]) -> str:
    """Say why packed's parameters are further from what its paper has them be, if they are.

    That is alpha^2 / M of the layers' weights, and alpha of what is linear in the width: depthwise convolutions, the
    first and the last layer, norms, biases and embeddings.
    """
    M, alpha = 4, 2
    plan = trace(network, input_shape)
    squared, names = 0, set()
    for name, layer in network.named_modules():
        if isinstance(layer, LAYERS) and name not in (plan.first, plan.last):
            depthwise = getattr(layer, "groups", 1) > 1 and layer.weight.shape[1] == 1
            names.add(name)
            squared += 0 if depthwise else layer.weight.numel()
        elif isinstance(layer, nn.MultiheadAttention):
            squared += layer.in_proj_weight.numel()
        elif isinstance(layer, nn.RNNBase):
            squared += sum(weight.numel() for weight in layer.parameters() if weight.dim() > 1)
    expected = squared * alpha**2 / M + (parameter_count(network) - squared) * alpha
    share = parameter_count(module) / expected
    if abs(share - 1) <= TOLERANCE:
        return ""
    thin = dict(module.ensemble.member(0).named_parameters())
    wide = {name for name, p in network.named_parameters() if p.dim() > 1 and name.rpartition(".")[0] in names}
    sizes = {name: (thin[name].numel(), network.get_parameter(name).numel()) for name in wide}
    one_side = [new for new, old in sizes.values() if new * M == old * alpha]
    neither = [new for new, old in sizes.values() if new == old]
    parts = {
        "stand in layers of which only one side is a width": one_side,
        "stand in layers that have no width": neither,
    }
    total = parameter_count(module.ensemble.member(0))
    why = [f"{sum(part) / total:.0%} {what}" for what, part in parts.items() if sum(part) > 0.01 * total]
    return f"{share:.2f} of the parameters expected ({'; '.join(why) or 'widths are rounded up'})"


def kept() -> dict[str, dict]:
    """Read what has been found: by family, each method's note, and what was tried."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(key: str, found: dict) -> None:
    """Add a family to what has been found, in the families' order; several commands can be at work."""
    with FileLock(RESULTS.with_suffix(".lock")):
        results = kept() | {key: found}
        ordered = {key: results[key] for key in families() if key in results}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


def table(results: dict[str, dict]) -> str:
    """Write what has been found as a page: counts, family by method, and what each note says."""
    rows, notes, lines = families(), [], [HEAD]
    for library in LIBRARIES:
        listed = [key for key in rows if key.startswith(f"{library}/")]
        tried = {key: results[key] for key in listed if key in results}
        counts = [f"**{sum(_works(found.get(method)) for found in tried.values())}**" for method in METHODS]
        lines += ["", f"## {library}", "", f"| family | variant | parameters | {' | '.join(METHODS)} |"]
        lines += ["| --- | --- | ---: |" + " :-: |" * len(METHODS)]
        lines += [f"| **{len(tried)} of {len(listed)} tried** | | | {' | '.join(counts)} |"]
        for key, found in tried.items():
            cells = []
            for method in METHODS:
                note = found.get(method)
                if note:
                    notes.append(f"{len(notes) + 1}. {key}, {method}: {note.rstrip('.')}.")
                mark = "" if note is None else "yes" if _works(note) else "no"
                cells.append(f"{mark} [{len(notes)}](#notes)" if note else mark)
            width = f" x {found['variant']['width']}" if "width" in found["variant"] else ""
            name, count = f"{found['variant']['name']}{width}", f"{found['parameters'] / 1e6:.1f} M"
            lines.append(f"| {key.partition('/')[2]} | {name} | {count} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "## Notes", "", *notes, ""])


def _works(note: str | None) -> bool:
    return note is not None and not note.startswith(("refused", "fails"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="such as timm/resnet; all where none is given")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("--again", action="store_true", help="try also what has been tried")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results, rows = kept(), families()
    for key in arguments.families or rows:
        found = results.setdefault(key, {})
        if found.get("variant") != rows[key]:
            found.clear()
        untried = [method for method in METHODS if found.get(method, "fails").startswith("fails")]
        todo = [method for method in arguments.methods if arguments.again or method in untried]
        if not todo:
            continue
        started = time.process_time()
        try:
            network, input_shape = build(key, rows[key])
        except UserError as error:
            print(f"{key}: {error}", flush=True)
            continue
        found |= {"variant": rows[key], "parameters": parameter_count(network)}
        for method in todo:
            torch.manual_seed(0)
            try:
                found[method] = attempt(method, network, input_shape)
            except UserError as error:
                found[method] = f"refused: {error}"
            except Exception as error:
                found[method] = f"fails: {type(error).__name__}: {error}"[:300]
            if found[method]:
                print(f"{key} {method} {found[method]}", flush=True)
        keep(key, found)
        print(f"{key}: {found['parameters']:,} parameters, {time.process_time() - started:.0f} s of CPU", flush=True)
    TABLE.write_text(table(kept()))


if __name__ == "__main__":
    main()
