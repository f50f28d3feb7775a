"""The process that works for another program: one request in, lines of JSON out."""

import json
import re
import subprocess
import sys
from typing import Any


def asked(**request: Any) -> tuple[dict[str, Any], str]:
    """The first line that the process says, and its log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.jobs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())  # it ends at once when its input is closed, which communicate does
    return told, process.communicate(timeout=120)[1]


def test_an_error_that_nobody_foresaw_is_told_by_a_name_and_its_text_stays_in_the_log():
    told, log = asked(do="analyse", run={"a": "/secret/place"}, names=[])
    name = re.fullmatch(r"It failed \(error (\w{6}); the server's log says more\)\.", told["error"])
    assert name is not None
    assert told["kind"] == "unexpected"
    assert f"error {name[1]}:" in log
    assert "Traceback" in log


def test_an_error_of_the_engine_is_told_in_its_own_words():
    told, _ = asked(do="analyse", run="0123456789ab", names=["rotation"], store="nowhere")
    assert told["kind"] == "RunNotFoundError"
    assert "0123456789ab" in told["error"]
