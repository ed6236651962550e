"""A trained ensemble as one file that predicts without this package: torch.export's format, or ONNX."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ensembles.errors import UserError, reason
from ensembles.files import replacing
from ensembles.members import Ensemble, Separate
from ensembles.members.folded import Folded
from ensembles.predictor import Predictor, load

TOLERANCE = 1e-5  # on probabilities, which differ where libraries sum in another order
ANY_BATCH = {"images": {0: torch.export.Dim("batch")}}

Run = Callable[[Tensor], Sequence[Tensor]]
Reader = Callable[[Path], Run]


class Artifact(nn.Module):
    """Images in, probabilities out; the normalisation is inside.

    Args:
        members: whether the members' probabilities (M, B, K) are a second output.
    """

    def __init__(self, predictor: Predictor, members: bool) -> None:
        super().__init__()
        self.predictor = predictor
        self.members = members

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Mean probabilities (B, K), of images (B, C, H, W)."""
        members = self.predictor(images).softmax(dim=-1)
        mean = members.mean(dim=0)
        return (mean, members) if self.members else (mean,)


def plain(ensemble: Ensemble) -> Ensemble:
    """The same members with plain weights, where the ensemble folds them anew at each pass."""
    if isinstance(ensemble, Folded):
        return Separate([ensemble.member(m) for m in range(ensemble.M)], ensemble.input_shape).eval()
    return ensemble


def export(
    checkpoint: str | Path, out: str | Path, members: bool = False, floats: bool = False, trust: Sequence[str] = ()
) -> None:
    """Write a checkpoint's ensemble to ``out``, a .pt2 or .onnx file for batches of any size.

    The file is read back and its predictions compared with the checkpoint's before it takes its name.

    Args:
        members: give the members' probabilities too.
        floats: take images as floats from 0 to 1 instead of uint8.
        trust: as `ensembles.load` takes it.

    Raises:
        UserError: another suffix, a missing package, a network that cannot be exported, or a file that predicts
            otherwise.
    """
    out = Path(out)
    if out.suffix not in FORMATS:
        raise UserError(f"{out} must end in {' or '.join(FORMATS)}, which says what is written.")
    predictor = load(checkpoint, trust)
    if not isinstance(predictor, Predictor):
        raise UserError(f"{checkpoint} predicts numbers, and only classifiers are exported: use it by ensembles.load.")
    shape = predictor.ensemble.input_shape
    batches = [_images(size, shape, floats) for size in (2, 5, 1)]
    with torch.no_grad():
        expected = [Artifact(predictor, members)(batch) for batch in batches]
    predictor.ensemble = plain(predictor.ensemble)
    artifact = Artifact(predictor, members).eval()
    contents, read = FORMATS[out.suffix](artifact, batches[0])
    with replacing(out) as draft:
        draft.write_bytes(contents)
        run = read(draft)
        with torch.no_grad():
            found = [run(batch) for batch in batches]
        _require_equal(out, found, expected)


@contextmanager
def _exporting(kind: str) -> Iterator[None]:
    for library in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
        raise UserError(f"This network cannot be exported as {kind} ({reason(error)}): try another format.") from error


def _pt2(artifact: Artifact, example: Tensor) -> tuple[bytes, Reader]:
    buffer = io.BytesIO()
    with _exporting("torch.export's .pt2"):
        program = torch.export.export(artifact, (example,), dynamic_shapes=ANY_BATCH)
        torch.export.save(program, buffer)
    return buffer.getvalue(), lambda path: torch.export.load(path).module()


def _onnx(artifact: Artifact, example: Tensor) -> tuple[bytes, Reader]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs the package {error.name}: pip install onnx onnxscript onnxruntime.") from error
    with _exporting("ONNX"):
        program = torch.onnx.export(
            artifact,
            (example,),
            input_names=["images"],
            output_names=["probabilities", "members"][: 1 + artifact.members],
            dynamic_shapes=ANY_BATCH,
            verbose=False,
        )
        contents = program.model_proto.SerializeToString()

    def read(path: Path) -> Run:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda batch: [torch.from_numpy(output) for output in session.run(None, {"images": batch.numpy()})]

    return contents, read


FORMATS = {".pt2": _pt2, ".onnx": _onnx}


def _images(size: int, shape: tuple[int, ...], floats: bool) -> Tensor:
    images = torch.randint(256, (size, *shape), generator=torch.Generator().manual_seed(size), dtype=torch.uint8)
    return images / 255 if floats else images


def _require_equal(out: Path, found: list[Sequence[Tensor]], expected: list[Sequence[Tensor]]) -> None:
    pairs = [pair for batch in zip(found, expected, strict=True) for pair in zip(*batch, strict=True)]
    difference = max((a - b).abs().max().item() for a, b in pairs)
    if not difference <= TOLERANCE:
        raise UserError(
            f"{out} was not kept, since its probabilities differ by {difference:.2g} from the checkpoint's: "
            "try another format."
        )
