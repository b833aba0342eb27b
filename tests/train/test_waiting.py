"""A folder that several runs share is waited for; one of a single run is not."""

import subprocess
import sys

import pytest

from limbeck.core import LimbeckError
from limbeck.train.folder import held
from limbeck.train.runtime import Runtime

HOLD = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_shared_folder_is_waited_for_and_another_is_refused(tmp_path):
    runtime = Runtime("cpu")
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LimbeckError, match="another process is writing"), held(tmp_path, runtime):
            pass
        said = []

        def waiting(line):
            said.append(line)
            other.stdin.write("\n")
            other.stdin.close()

        with held(tmp_path, runtime, waiting):
            assert said == [f"another process is writing {tmp_path}: waiting for it"]
        assert other.wait() == 0
