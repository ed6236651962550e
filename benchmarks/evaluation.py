"""How fast whole evaluations run, beside the bare forward passes of the same network on as many images.

    python benchmarks/evaluation.py model=resnet18 method=deterministic,packed data=image_folder data.root=FOLDER \
        data.corrupted.source=written

The overrides are those of train.py; write the corrupted copies first, with scripts/corrupt.py. An evaluation reads,
normalises, predicts, gathers and measures every set. A bare pass runs the network on batches of the same sizes that are
in memory as it takes them. Both are timed in turn, so that what else the machine does falls on both alike; a ratio is
between the fastest of each, by the clock and by the time that this process had on the processor, which on a busy
machine is the one to trust (with one thread, lest waiting threads count). Writes ``evaluation.csv`` to ``--out``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import argument_parser, fastest, write_table
from omegaconf import OmegaConf

from ensembles import build, evaluation
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import show_own_warnings
from ensembles.runs import Run
from ensembles.training.trainer import configure_members, make_trainer


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("overrides", nargs="+", help="as for train.py; several configurations: a,b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    show_own_warnings(speaks=True)
    check(options.overrides)
    rows = []
    for varied, config in combinations(options.overrides):
        config.runtime.progress = False
        rows.append(varied | measure(checked(config), options.rounds))
    write_table(rows, options.out / "evaluation.csv")


def measure(plain: dict, rounds: int) -> dict:
    """Images, seconds and their ratio of one configuration."""
    config = OmegaConf.create(plain)
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    method = build.method(about).eval()
    configure_members(method, config)
    data.prepare_data()
    data.setup("test")
    with TemporaryDirectory() as folder:
        run = Run(plain, Path(folder))

        def evaluate() -> dict:
            trainer = make_trainer(config, run, about, method)
            with evaluation.collecting(trainer, data, run) as summary:
                if evaluation.validates(run):
                    trainer.validate(method, data, verbose=False)
                trainer.test(method, data, verbose=False)
            return summary.results()

        times = fastest({"evaluation": evaluate, "bare": lambda: forward(method, data)}, rounds)
    row = {"sets": len(data.test_sets), "images": sum(data.test_sets.values())}
    for k, clock in enumerate(("", "cpu_")):
        whole, passes = times["evaluation"][k], times["bare"][k]
        row |= {f"{clock}bare_s": passes, f"{clock}evaluation_s": whole, f"{clock}ratio": passes / whole}
    return row


@torch.inference_mode()
def forward(method, data) -> None:
    """The network on every batch of every set, were they already there."""
    device = next(method.parameters()).device
    shape = data.in_channels, data.image_size, data.image_size
    x = torch.randn(data.eval_batch_size, *shape, device=device).contiguous(memory_format=torch.channels_last)
    for size in data.test_sets.values():
        for part in torch.arange(size).tensor_split(-(-size // data.eval_batch_size)):
            method(x[: len(part)])
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
