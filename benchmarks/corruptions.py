"""Compare the corruptions with torch-uncertainty's, which are independent of them, on the same real images.

    python benchmarks/corruptions.py --images FOLDER --reference-python VENV/bin/python

FOLDER holds small images of one size (CIFAR-10's test set, in folders by class or not); the large ones are 224x224
pieces of scikit-learn's two sample photographs. The other Python needs torch-uncertainty, its assets, OpenCV, SciPy and
kornia. Writes ``comparison.csv`` and ``comparison.md`` to ``--out``.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import argument_parser, markdown, write_csv
from PIL import Image
from sklearn.datasets import load_sample_images

from ensembles.data.corruptions import EXTRA, SEVERITIES, STANDARD, corrupt
from ensembles.data.corruptions.constants import CIFAR, IMAGENET

FIXED = {  # no randomness: the two can be compared pixel by pixel
    *("defocus_blur", "zoom_blur", "gaussian_blur"),
    *("brightness", "contrast", "saturate", "pixelate", "jpeg_compression"),
}

WHY = {  # where they differ
    "defocus_blur": "Same kernel and border.",
    "glass_blur": (
        "The reference draws each pixel's offset at once, from a distribution derived for true exchanges, "
        "with iterations and reaches that its authors chose for a similar look. Here, as in the released "
        "sets, pixels are visited in order and take a neighbour's present value."
    ),
    "motion_blur": (
        "The release calls ImageMagick: half a Gaussian that starts at the pixel. The reference takes a box "
        "line centred on the pixel, with sigma for its half-length."
    ),
    "snow": "Same flakes; the reference smears them with a centred box line, as in motion_blur.",
    "frost": (
        "The release crops the photograph at a scale of its own (a fifth for CIFAR); the reference crops 8 to "
        "100 % of it and stretches that. Both draw one of five photographs per image, so means over few "
        "images scatter."
    ),
    "fog": "Same definition, other draws: the largest scales decide, so means over few images scatter.",
    "brightness": (
        "The release adds to the value in HSV; the reference multiplies the image by 1.3 to 2.5, which leaves "
        "dark pixels dark."
    ),
    "contrast": (
        "The release scales each channel about its own mean; the reference blends with the mean of the grey "
        "image, so colours fade too."
    ),
    "elastic_transform": (
        "Same scheme. The reference takes shares of the image's side (the release, of 244 pixels where it has "
        "224), a smoothness of 0.5 and not 0.7 at severity 1, and a blur kernel half as long."
    ),
    "jpeg_compression": "Same definition and library.",
    "gaussian_blur": (
        "The release cuts its kernel off at 4 sigma. The reference has 1, 9, 9, 17 and 25 pixels for sigmas "
        "of 1, 2, 3, 4 and 6: nothing happens at severity 1, and the rest is cut off at 1.3 to 2 sigma."
    ),
    "saturate": (
        "The release scales and shifts the saturation in HSV, down at severities 1 and 2 and up from 3; the "
        "reference blends with the grey image, down at all five (0.8 to 0.1)."
    ),
}


def main() -> None:
    parser = argument_parser(__doc__, "results/corruptions")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--reference-python", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300, help="small images, taken evenly from the folder")
    options = parser.parse_args()

    torch.set_num_threads(1)
    small, large = small_images(options.images, options.count), photographs()
    size = small.shape[1]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for images, tables in ((large, {"ImageNet": IMAGENET}), (small, {"ImageNet": IMAGENET, "CIFAR": CIFAR})):
            reference = run_reference(options.reference_python, images, Path(folder))
            for label, table in tables.items():
                rows += compare(images, label, table, reference)

    origin = write_csv(rows, options.out / "comparison.csv")
    sections = (
        (f"{len(large)} photographs, 224x224, ImageNet constants", large.shape[1], "ImageNet"),
        (
            f"{len(small)} small images, {size}x{size}, ImageNet constants (the reference knows no others)",
            size,
            "ImageNet",
        ),
        (f"{len(small)} small images, {size}x{size}, CIFAR constants (the default at this size)", size, "CIFAR"),
    )
    (options.out / "comparison.md").write_text(page(rows, sections, origin))


def small_images(folder: Path, count: int) -> np.ndarray:
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in {".webp", ".png", ".jpg", ".jpeg"})
    if not files:
        raise SystemExit(f"{folder} has no image.")
    chosen = [files[i * len(files) // count] for i in range(min(count, len(files)))]
    return np.stack([np.asarray(Image.open(f).convert("RGB")) for f in chosen])


def photographs() -> np.ndarray:
    corners = [(top, left) for top in (0, 203) for left in (0, 208, 416)]
    return np.stack([p[t : t + 224, left : left + 224] for p in load_sample_images().images for t, left in corners])


def run_reference(python: Path, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    np.save(folder / "images.npy", images)
    script = Path(__file__).with_name("corruptions_reference.py")
    subprocess.run([python, script, folder / "images.npy", folder / "out.npz"], check=True)
    with np.load(folder / "out.npz") as out:
        return dict(out)


def compare(images: np.ndarray, label: str, table: dict, reference: dict[str, np.ndarray]) -> list[dict]:
    batch = torch.from_numpy(images).movedim(-1, 1).contiguous()
    rows = []
    for name in STANDARD + EXTRA:
        for severity in SEVERITIES:
            started = time.perf_counter()
            ours = corrupt(batch, name, severity, table=table).movedim(1, -1).numpy()
            row = {"size": images.shape[1], "constants": label, "type": name, "severity": severity}
            row |= measured(ours, images, time.perf_counter() - started)
            theirs = reference.get(f"{name}/{severity}")
            if theirs is not None:
                found = measured(theirs, images, float(reference[f"{name}/{severity}/seconds"]))
                row |= {f"reference_{key}": value for key, value in found.items()}
                row["psnr_between"] = psnr(ours, theirs) if name in FIXED else None
            rows.append(row)
    return rows


def measured(found: np.ndarray, images: np.ndarray, seconds: float) -> dict[str, float]:
    return {"change": change(found, images), "psnr": psnr(found, images), "images_per_second": len(images) / seconds}


def change(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute change, grey levels of 255."""
    return float(np.abs(a.astype(np.int16) - b).mean())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of the mean squared error over all images, dB."""
    error = float(np.square(a.astype(np.float64) - b).mean())
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def page(rows: list[dict], sections: tuple, origin: str) -> str:
    lines = [
        "# Corruptions: this project beside torch-uncertainty",
        "",
        "Written by `benchmarks/corruptions.py`. Cells are *ours / torch-uncertainty's*; `spatter` is missing "
        "there, and its constants are ImageNet-C's at every size. *The release* is the program that made "
        "CIFAR-10-C and ImageNet-C; where the two columns differ, the reasons at the end say which follows it.",
        "",
        "Of equal definitions, 51 dB between the two is what rounding leaves: down to whole grey levels here, as "
        "in the release, and to the nearest there.",
        "",
        f"Machine: {origin.splitlines()[-1]}.",
    ]
    for title, size, label in sections:
        cells = {(r["type"], r["severity"]): r for r in rows if (r["size"], r["constants"]) == (size, label)}
        tables = {
            "Mean absolute change, grey levels of 255": grid(cells, "change", ".1f"),
            "PSNR against the clean images, dB": grid(cells, "psnr", ".1f"),
            "PSNR between the two, dB (types without randomness)": grid(cells, "psnr_between", ".1f"),
            "Images per second": grid(cells, "images_per_second", ".0f"),
        }
        lines += ["", f"## {title}"]
        for heading, table in tables.items():
            lines += ["", f"{heading}:", "", table]
        lines += ["", pace(cells)]
    both = [name for name in STANDARD + EXTRA if name != "spatter"]
    why = [{"type": name, "why": WHY.get(name, "Same definition.")} for name in both]
    lines += ["", "## What differs, and why", "", markdown(why, names=2)]
    return "\n".join(lines) + "\n"


def pace(cells: dict) -> str:
    slowest = min(cells.values(), key=lambda r: r["images_per_second"])
    seconds = sum(10_000 / row["images_per_second"] for row in cells.values())
    return (
        f"All {len(cells)} cells of 10,000 such images at these rates: {seconds:.0f} s. "
        f"Slowest: {slowest['type']} at severity {slowest['severity']}, {slowest['images_per_second']:.0f} images/s."
    )


def grid(cells: dict, key: str, form: str) -> str:
    """A Markdown table of a number by type and severity, ours and the reference's where it is there."""
    rows = []
    for name in STANDARD + EXTRA:
        row = {"type": name}
        for severity in SEVERITIES:
            both = (cells[name, severity].get(each) for each in (key, f"reference_{key}"))
            row[severity] = " / ".join(format(value, form) for value in both if value is not None)
        rows += [row] if any(row[severity] for severity in SEVERITIES) else []
    return markdown(rows)


if __name__ == "__main__":
    main()
