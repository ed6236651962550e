"""A folder's lock: who has it is named, and it ends with its process, whatever that has started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ensembles.errors import Busy
from ensembles.files import held, holder

ROOT = Path(__file__).parents[1]
KILLED = """
import os, signal, sys, time
from pathlib import Path
from ensembles.files import held
with held(Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_holder_is_named(tmp_path):
    me = f"process {os.getpid()} on {os.uname().nodename}"
    assert holder(tmp_path) is None
    with held(tmp_path):
        assert holder(tmp_path) == me
        with pytest.raises(Busy, match=f"is being worked on by {me}: wait for it to end"), held(tmp_path):
            pass
    assert holder(tmp_path) is None


def test_a_child_does_not_keep_the_lock_of_a_process_that_was_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass
