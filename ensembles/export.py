"""A trained ensemble as one file that predicts without this package: torch.export's format, or ONNX."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ensembles.checkpoints import ABOUT, read_checkpoint
from ensembles.errors import UserError, reason
from ensembles.files import replacing
from ensembles.methods.base import Ensemble, Separate
from ensembles.methods.folded import Folded
from ensembles.predictor import Predictor, load
from ensembles.runs import file_digest, network_file

TOLERANCE = 1e-5  # on probabilities, which differ where libraries sum in another order
ANY_BATCH = {"images": {0: torch.export.Dim("batch")}}
METADATA = "ensembles.json"  # the .pt2's extra file that says what it is; in ONNX that is in metadata_props

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
        """Predict mean probabilities (B, K), of images (B, C, H, W)."""
        members = self.predictor(images).softmax(dim=-1)
        mean = members.mean(dim=0)
        return (mean, members) if self.members else (mean,)


def plain(ensemble: Ensemble) -> Ensemble:
    """Put the members into a loop, with plain weights where the ensemble folds them anew at each pass."""
    if isinstance(ensemble, Folded):
        ensemble = Separate([ensemble.member(m) for m in range(ensemble.M)], ensemble.input_shape).eval()
    ensemble.form = "loop"
    return ensemble


def metadata(predictor: Predictor, checkpoint: str | Path, members: bool, floats: bool) -> dict[str, object]:
    """Describe a written file: its input and outputs, its classes, and where it comes from."""
    about = read_checkpoint(checkpoint)[ABOUT]
    shape, classes = list(predictor.ensemble.input_shape), len(predictor.class_names)
    kind, top = ("float32", 1) if floats else ("uint8", 255)
    wants = f"images as {kind} from 0 to {top} of shape (batch, {', '.join(map(str, shape))}), not normalised"
    outputs = {"probabilities": ["batch", classes]}
    if members:
        outputs["members"] = [predictor.ensemble.M, "batch", classes]
    return {
        "description": f"{wants}; out come each image's probabilities of the classes",
        "input": {"name": "images", "dtype": kind, "range": [0, top], "shape": ["batch", *shape]},
        "outputs": outputs,
        "class_names": predictor.class_names,
        "normalisation": {
            "mean": predictor.mean.flatten().tolist(),
            "std": predictor.std.flatten().tolist(),
            "where": "inside the network, after images are scaled to 0 to 1",
        },
        "members": predictor.ensemble.M,
        "method": about["method"],
        "model": about["model"],
        "source": {"checkpoint": str(checkpoint), "blake2b": file_digest(checkpoint), "torch": torch.__version__},
    }


def export(
    checkpoint: str | Path, out: str | Path, members: bool = False, floats: bool = False, trust: Sequence[str] = ()
) -> dict[str, object]:
    """Write a checkpoint's ensemble to ``out``, a .pt2 or .onnx file for batches of any size; returns its metadata.

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
    checkpoint = network_file(checkpoint)
    predictor = load(checkpoint, trust)
    if not isinstance(predictor, Predictor):
        raise UserError(f"{checkpoint} predicts numbers, and only classifiers are exported: use it by ensembles.load.")
    shape = predictor.ensemble.input_shape
    batches = [_images(size, shape, floats) for size in (2, 5, 1)]
    with torch.no_grad():
        expected = [Artifact(predictor, members)(batch) for batch in batches]
    predictor.ensemble = plain(predictor.ensemble)
    artifact = Artifact(predictor, members).eval()
    said = metadata(predictor, checkpoint, members, floats)
    contents, reader = FORMATS[out.suffix](artifact, batches[0], said)
    with replacing(out) as draft:
        draft.write_bytes(contents)
        run = reader(draft)
        with torch.no_grad():
            found = [run(batch) for batch in batches]
        _require_equal(out, found, expected)
    return said


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


def _pt2(artifact: Artifact, example: Tensor, said: Mapping) -> tuple[bytes, Reader]:
    buffer = io.BytesIO()
    with _exporting("torch.export's .pt2"):
        program = torch.export.export(artifact, (example,), dynamic_shapes=ANY_BATCH)
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(said, indent=2)})
    return buffer.getvalue(), lambda path: torch.export.load(path).module()


def _onnx(artifact: Artifact, example: Tensor, said: Mapping) -> tuple[bytes, Reader]:
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
        proto = program.model_proto
    proto.doc_string = str(said["description"])
    for key, value in said.items():
        proto.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    for port in (*proto.graph.input, *proto.graph.output):
        port.doc_string = proto.doc_string
    contents = proto.SerializeToString()

    def reader(path: Path) -> Run:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda batch: [torch.from_numpy(output) for output in session.run(None, {"images": batch.numpy()})]

    return contents, reader


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
