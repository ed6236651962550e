"""Write a trained ensemble as one file that predicts without this package.

ensembles export runs/<run>/best.ckpt ensemble.onnx
ensembles export --trust mine runs/<run>/best.ckpt ensemble.pt2     # a network of your own, in mine.py

The file says itself what it takes and gives: in ONNX's metadata, or in a .pt2's extra file ensembles.json.
"""

from pathlib import Path

from ensembles.cli import TRUST, command_parser, program


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="the file to write: .pt2 is torch.export's format, .onnx is ONNX")
    parser.add_argument("--members", action="store_true", help="give the members' probabilities as a second output")
    parser.add_argument("--floats", action="store_true", help="take images as floats from 0 to 1 instead of uint8")
    parser.add_argument("--trust", **TRUST)
    arguments = parser.parse_args()
    from ensembles.export import export  # imports torch, which takes seconds

    said = export(**vars(arguments))
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes; predicts as the checkpoint does.")
    print(f"In go {said['description']}.")
