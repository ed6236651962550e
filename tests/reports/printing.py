"""Results of a run, and what is printed of them."""

import io

from rich.console import Console

CRITERIA = ("max_probability", "max_logit", "entropy", "mutual_information", "variance")


def results(M=4):
    found = {"test/acc": 0.98885, "test/nll": 0.0412, "test/ece": 0.0123, "test/brier": 0.0182}
    found |= {"members/acc": [0.97, 0.95, 0.96, 0.96][:M], "members/nll": [0.1] * M, "members/ece": [0.02] * M}
    found |= {"members/brier": [0.05] * M}
    if M > 1:
        found |= {"diversity/disagreement": 0.032, "diversity/kl": 0.0861, "diversity/ratio": 0.7812}
    for name in ("photos", "a set [of images] whose name is longer than any table can be wide"):
        for criterion in CRITERIA:
            found |= {f"ood/{name}/{criterion}/{metric}": 0.9471 for metric in ("auroc", "aupr", "fpr95")}
    found |= {"corrupted/acc": 0.761, "corrupted/nll": 1.05, "corrupted/ece": 0.153, "corrupted/fog/3/acc": 0.5555}
    found |= {"corrupted/cells": 75, "corrupted_extra/acc": 0.7, "corrupted_extra/nll": 1.5, "corrupted_extra/ece": 0.2}
    found |= {"shift/sketches/acc": 0.235, "shift/sketches/nll": 5.187, "shift/sketches/ece": 0.0822}
    found |= {"cost/params": 8175784, "cost/mult_adds": 480_900_000, "cost/forward_passes": 0.868}
    return found | {"cost/images_per_second": 12345.6, "cost/ms_per_image": 0.081}


def printed(what, *args, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(what) if not args else what(*args, console)
    return console.file.getvalue()


def row(text, *beginning):
    [line] = [line.split() for line in text.splitlines() if line.split()[: len(beginning)] == list(beginning)]
    return line[len(beginning) :]
