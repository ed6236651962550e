import resource
import subprocess
import sys

FAULTS = """
import resource
from ensembles.processes import keep_freed_memory
{call}
for step in range(50):
    b"x" * 40_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(call: str) -> int:
    """Page faults of a process that takes and frees 40 MB 50 times."""
    code = FAULTS.format(call=call)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_memory_that_was_freed_is_not_faulted_in_again():
    pages = 40_000_000 // resource.getpagesize()
    assert faults("") - faults("keep_freed_memory()") > 30 * pages
