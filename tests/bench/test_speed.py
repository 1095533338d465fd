"""The Speed block of a README: which lines are measured, where their figures go, and a whole README measured for real."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import monopod
from bench import examples, machine, speed
from bench.served import BenchError
from bench.speed import with_figures
from tests.running import ROOT, make_service

SECONDS = 60.0


def terminated(module: str, *arguments: str, children: int) -> tuple[int, int, list[int]]:
    """Run a module until it has `children` child processes, then send SIGTERM.

    Return its process id, its exit status, and the ids of its child processes that still run 10 seconds later.
    """
    line = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + SECONDS
        while len(started := _children(process.pid)) < children:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, f"it has {len(started)} processes"
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status = process.wait(SECONDS)
    end = time.monotonic() + 10
    while (left := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return process.pid, status, left


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


README = """# A service

    monopod bench --file not-this.jpg

## Speed

Words before the block.

```sh
# a comment
monopod bench --url http://localhost:8080/api/like/small --data '{"data": [[0.5, 1]]}' \\
    --rate 50 --seconds 10
.venv/bin/monopod bench --file b.jpg
```

## What it cannot do

| a | table |
"""


def test_every_bench_line_of_the_block_is_measured(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(README)
    first, second = speed.lines(tmp_path / "README.md")
    assert first.split()[:2] == ["--url", "http://localhost:8080/api/like/small"]
    assert first.endswith("--rate 50 --seconds 10")
    assert second == "--file b.jpg"


@pytest.mark.parametrize(
    "text", ["", "# x\n", "## Speed\n\n## Next\n```\nmonopod bench --file a.jpg\n```\n", "## Speed\n```\nls\n```\n"]
)
def test_a_readme_without_a_bench_line_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(BenchError, match="README.md: has no `monopod bench` line"):
        speed.lines(tmp_path / "README.md")


def test_figures_go_below_the_block_and_replace_older_ones() -> None:
    once = with_figures(README, "Measured on a machine.\n\n| new |\n| --- |\n| 1 |\n")
    assert once == README.replace("```\n\n## What", "```\n\nMeasured on a machine.\n\n| new |\n| --- |\n| 1 |\n\n## What")
    assert with_figures(once, "Measured on a machine.\n\n| new |\n| --- |\n| 1 |\n") == once
    assert with_figures(once, "Measured on another.\n\n| 2 |\n").count("Measured on") == 1


def test_hand_written_words_below_the_block_stay() -> None:
    text = README.replace("```\n\n## What", "```\n\nMeasured on x.\n\n| 1 |\n\nThe second line is the usual one.\n\n## What")
    after = with_figures(text, "Measured on y.\n\n| 2 |\n")
    assert "```\n\nMeasured on y.\n\n| 2 |\n\nThe second line is the usual one.\n\n## What" in after


def test_an_example_is_served_measured_and_written(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",))
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}
    (tmp_path / "row.json").write_text(json.dumps({"inputs": [tensor]}))
    url = "http://localhost:8080/v2/models/small/infer"
    line = f"monopod bench --url {url} --data @{tmp_path}/row.json --warm-up 0 --seconds 0.5"
    lines = f"{line} --rate 40\n{line} --concurrency 1\n"
    (folder / "README.md").write_text(f"# Small\n\n## Speed\n\n```\n{lines}```\n\n## Next\n")
    examples.write(folder, machine.here())
    text = (folder / "README.md").read_text()
    first, second = [line for line in text.splitlines() if line.startswith("| POST")]
    assert first.startswith("| POST /v2/models/small/infer | row.json | 40 requests a second |")
    assert second.startswith("| POST /v2/models/small/infer | row.json | 1 connection |")
    assert first.endswith("| none |")
    assert f"cores ({machine.here().processor})" in text
    assert text.endswith("|\n\n## Next\n")


def test_an_example_that_answers_nothing_keeps_its_readme(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",))
    text = "## Speed\n```\nmonopod bench --data '{}' --seconds 0.2 --warm-up 0\n```\n"
    (folder / "README.md").write_text(text)
    with pytest.raises(BenchError, match="no answer was 2xx; nothing was written"):
        examples.write(folder, machine.here())
    assert (folder / "README.md").read_text() == text


def test_a_measurement_that_is_told_to_end_leaves_no_process_and_the_readme_as_it_was(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",))
    text = "## Speed\n```\nmonopod bench --data '{}' --seconds 60\n```\n"
    (folder / "README.md").write_text(text)
    _, status, left = terminated("bench.examples", "--service", str(folder), children=2)
    assert (status, left) == (130, [])
    assert (folder / "README.md").read_text() == text


EXAMPLES = [path for path in sorted(ROOT.glob("examples/*/README.md")) if (path.parent / "value.py").is_file()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_bench_lines_of_an_example_send_files_that_are_there(path: Path) -> None:
    for line in speed.lines(path):
        arguments: argparse.Namespace = monopod._parser().parse_args(["bench", *shlex.split(line)])
        named = [*arguments.file, *(field.partition("=@")[2] for field in arguments.form if "=@" in field)]
        named += [text[1:] for text in arguments.data if text.startswith("@")]
        assert [str(file) for file in named if not (ROOT / file).is_file()] == []
