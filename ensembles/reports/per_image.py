"""What a run says of each of N test images, in a small file: what plots and tests over runs are made from.

numpy is imported only where a file is written or read.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ensembles.errors import UserError, reason
from ensembles.files import open_arrays, replacing

if TYPE_CHECKING:
    import numpy as np

PER_IMAGE = "per_image.npz"  # in a run's folder


def images_file(study: Path, row: str, seed: object) -> Path:
    """Name the file that a study's folder has of a collected run."""
    return study / "images" / f"{row}-{seed}.npz"


def save_per_image(path: Path, correct: "np.ndarray", log_likelihood: "np.ndarray", confidence: "np.ndarray") -> None:
    """Write whether each answer is right, the label's log-probability, and the answer's probability; (N,).

    Raises:
        UserError: a folder that cannot be written to.
    """
    import numpy as np

    with replacing(path) as draft, open(draft, "wb") as file:
        np.savez_compressed(
            file,
            correct=np.packbits(np.asarray(correct, bool)),
            log_likelihood=np.asarray(log_likelihood, np.float16),
            confidence=np.asarray(confidence, np.float16),
        )


def load_per_image(path: Path) -> dict[str, "np.ndarray"]:
    """Read it: correct, log_likelihood, confidence; (N,), float64.

    Raises:
        UserError: a file that is missing or damaged.
    """
    import numpy as np

    try:
        with open_arrays(path) as file:
            count = len(file["confidence"])
            correct = np.unpackbits(file["correct"], count=count)
            return {"correct": correct.astype(float)} | {
                key: file[key].astype(float) for key in ("log_likelihood", "confidence")
            }
    except Exception as error:  # whatever a damaged archive makes its reader raise
        raise UserError(f"{path} cannot be read ({reason(error)}): bring it back, or collect its run again.") from error
