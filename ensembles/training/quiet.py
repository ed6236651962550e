"""Warnings that a user can act on, and no others."""

import logging
import warnings

OURS = "ensembles"


def quiet(speaks: bool) -> None:
    """Show this package's own warnings as one line each, if this process speaks; hide the libraries' advice."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if speaks:
        warnings.filterwarnings("once", category=UserWarning, module=rf"{OURS}\.|__main__")
        warnings.showwarning = _one_line


def _one_line(message: Warning, *_: object) -> None:
    print(f"note: {message}", flush=True)
