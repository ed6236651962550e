"""The command line answers without torch, which takes seconds to import."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALLS = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
for arguments in (["--help"], ["method=mimo", "--cfg", "job"], ["method=mimmo"]):
    sys.argv = ["train.py", *arguments]
    try:
        runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
    except SystemExit:
        pass
    assert "torch" not in sys.modules, arguments
"""


def test_help_configs_and_refusals(tmp_path):
    ended = subprocess.run([sys.executable, "-c", CALLS], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Usage: " in ended.stdout
    assert "_target_: ensembles.methods.MIMO" in ended.stdout and "did you mean mimo" in ended.stderr
