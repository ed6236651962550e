import shutil
import subprocess
import sys

from PIL import Image

from ensembles.data.files.fingerprint import fingerprint

COUNTS = {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1}


def test_it_stays_when_the_folder_moves(image_folder, tmp_path):
    root = image_folder(COUNTS)
    before = fingerprint(root)
    shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    assert fingerprint(tmp_path / "elsewhere") == fingerprint(str(root)) == before


def test_it_changes_with_the_files(image_folder):
    root = image_folder(COUNTS)
    seen = {fingerprint(root)}
    (root / "train/dog/1.png").rename(root / "train/dog/2.png")
    seen.add(fingerprint(root))
    (root / "train/dog/2.png").rename(root / "train/cat/3.png")
    seen.add(fingerprint(root))
    Image.new("RGB", (8, 8)).save(root / "train/cat/3.png")  # same name, other content
    seen.add(fingerprint(root))
    image_folder({"val/cat": 1})
    seen.add(fingerprint(root))
    assert len(seen) == 5


def test_it_needs_no_torch(image_folder):
    root = image_folder(COUNTS)
    program = (
        "import sys; from ensembles.data.files.fingerprint import fingerprint;"
        "print(fingerprint(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == fingerprint(root)
