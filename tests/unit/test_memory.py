"""What is freed is kept: on glibc the second tensor of a size has its pages already."""

import gc
import os
import resource
import subprocess
import sys

import pytest

from facefactor.memory import all_is_kept

COUNT_FAULTS = """
import ctypes, resource, sys, threading
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size
import torch
from facefactor.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def fill():
    for _ in range(20):
        torch.ones(16, 1024, 1024)
if "elsewhere" in sys.argv:
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
else:
    fill()
before = faults()
for _ in range(1 if "once" in sys.argv else 5):
    torch.ones(16, 1024, 1024)
print(faults() - before)
"""


def test_what_is_made_at_the_start_is_not_looked_through():
    before = gc.get_freeze_count()
    with all_is_kept():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    try:
        assert gc.isenabled() and gc.get_freeze_count() >= before + len(made)
    finally:
        gc.unfreeze()


def count_faults(*arguments: str, **variables: str) -> int:
    """Pages that five tensors of 64 MB want anew, or one."""
    own = ("MALLOC_", "GLIBC_TUNABLES")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, *arguments],
        env=bare | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="glibc alone is told",
)
def test_freed_memory_is_kept():
    pages = 5 * 64 * 2**20 // resource.getpagesize()
    assert count_faults() > 0.9 * pages  # else there is nothing to mend
    assert count_faults("keep") < 0.01 * pages
    # Another thread's is good enough; now and then something small lies in its middle.
    found = (count_faults("keep", "elsewhere", "once") for _ in range(3))
    assert any(count < 0.001 * pages for count in found)
    assert count_faults("keep", MALLOC_ARENA_MAX="2") > 0.9 * pages  # the user's word stands
