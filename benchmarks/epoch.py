"""What an epoch of a run costs beside a plain training loop over the same network, batches and validation.

    python benchmarks/epoch.py [method=packed model=small_cnn_4x ...]

The overrides are those of train.py. A run deals, augments, logs, looks for losses that are not finite, keeps metrics
and writes checkpoints; the plain loop shuffles and augments a tensor in memory, trains and validates, and nothing else
(for methods whose members all see the batch). An epoch's time is the difference between a longer and a shorter
training, over the epochs between them, by the time that the process had on the processor; both ways take turns, and
the fastest round counts. Writes ``epoch.csv`` to ``--out``.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import argument_parser, fastest, write_table
from omegaconf import DictConfig, OmegaConf

from ensembles import build
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import show_own_warnings
from ensembles.processes import keep_freed_memory
from ensembles.runs import Run
from ensembles.training.trainer import configure_members, make_trainer

SHORT, LONG = 2, 22  # epochs


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("overrides", nargs="*", help="as for train.py; several configurations: a,b")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    show_own_warnings(speaks=True)
    check(options.overrides)
    rows = []
    for varied, config in combinations(options.overrides):
        config.runtime.progress = False
        run, plain = epochs([train_run, train_plainly], OmegaConf.create(checked(config)), options.rounds)
        label = {"model": config.model._target_, "method": config.method._target_} | varied
        label = {key: value.rpartition(".")[2] for key, value in label.items()}
        rows.append(label | {"run, ms": round(run), "plain loop, ms": round(plain), "ratio": round(run / plain, 2)})
    write_table(rows, options.out / "epoch.csv")


def epochs(ways: list[Callable[[DictConfig], None]], config: DictConfig, rounds: int) -> list[float]:
    """Give the milliseconds of an epoch in each way."""
    lengths = {length: OmegaConf.merge(config, {"recipe": {"epochs": length}}) for length in (SHORT, LONG)}
    works = {(way, length): partial(way, lengths[length]) for way in ways for length in lengths}
    spent = {work: processor for work, (_, processor) in fastest(works, rounds).items()}
    return [1000 * (spent[way, LONG] - spent[way, SHORT]) / (LONG - SHORT) for way in ways]


def parts(config: DictConfig) -> tuple:
    """Make the data module, the method and its description, as a run does."""
    torch.manual_seed(0)
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    method = build.method(about)
    method.recipe = build.call(config.recipe)
    configure_members(method, config)
    return data, method, about


def train_run(config: DictConfig) -> None:
    data, method, about = parts(config)
    with TemporaryDirectory() as folder:
        run = Run(OmegaConf.to_container(config), Path(folder))
        make_trainer(config, run, about, method).fit(method, data)


def train_plainly(config: DictConfig) -> None:
    data, method, _ = parts(config)
    data.prepare_data()
    data.setup("fit")
    train = data.sets["train"]
    images, labels = train.images.gather(train.index), train.labels
    validation = [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()]
    size, drawing = config.recipe.batch_size, torch.Generator().manual_seed(0)
    steps = len(labels) // size
    made = method.recipe.optimizers(method.parameter_groups(), config.recipe.epochs * steps)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    for _ in range(config.recipe.epochs):
        method.train()
        for chosen in torch.randperm(len(labels))[: steps * size].split(size):
            x = data.normalise(data.augment(images[chosen], data.augment.draw(size, drawing)))
            loss = method.loss(method(x), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        method.eval()
        with torch.no_grad():
            sum((method(x).softmax(-1).mean(0).argmax(-1) == y).sum() for x, y in validation).item()


if __name__ == "__main__":
    main()
