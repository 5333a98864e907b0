"""Reading takes a bounded number of bytes a pixel, whatever the file; measured in processes."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

SIDE = 1200


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured as Linux counts them")
def test_reading_takes_at_most_about_12_bytes_a_pixel():
    command = [sys.executable, "-m", "tests.support.peak_memory", "--side", str(SIDE)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # else it starts itself anew
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    found = re.findall(r"(.+?) +([\d.]+) bytes a pixel, at most (\d+)", printed)
    assert len(found) > 20
    slack = 4 * 2**20 / SIDE**2  # tiles, and what a decoder takes of any file
    excess = {name: peak for name, peak, most in found if float(peak) > float(most) + slack}
    assert not excess
