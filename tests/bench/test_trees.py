"""Another state of this project: a commit is unpacked and served with this environment, and what is neither is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import trees
from bench.peers.ours import before
from bench.served import BenchError
from bench.spent_parts import part_of
from tests.running import ROOT


def test_a_commit_runs_its_own_modules_with_this_environments_packages() -> None:
    with trees.older("HEAD") as tree:
        command = [tree.python, "-c", "import monopod, serving; print(monopod.__file__, serving.__file__)"]
        told = subprocess.run(command, env=dict(tree.environment), capture_output=True, text=True, check=True).stdout.split()
        assert [Path(path).is_relative_to(tree.folder) for path in told] == [True, True]
        assert tree.about == trees.about("HEAD", ROOT)
        assert str(tree.folder / "bench" / "peers" / "services") in " ".join(before(tree).command)
    assert not tree.folder.exists()


def test_a_folder_without_an_environment_runs_with_this_one(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "monopod.py").touch()
    with trees.older(str(tmp_path)) as tree:
        assert (tree.python, tree.environment["PYTHONPATH"]) == (sys.executable, str(tmp_path / "src"))


@pytest.mark.parametrize(
    ("given", "words"), [("no-such-commit", "neither a folder nor a commit"), ("tests", "no src/monopod.py")]
)
def test_what_is_no_state_of_this_project_is_refused(given: str, words: str) -> None:
    with pytest.raises(BenchError, match=words), trees.older(given):
        pass


@pytest.mark.parametrize("module", ["exchange", "request_cycle"])
def test_admission_is_one_part_in_older_states_too(module: str) -> None:
    stack = f"main (main.py:1);data_received (serving/web/front/connection.py:1);run (serving/web/front/{module}.py:1)"
    assert part_of(stack) == "admission, routes and stages"
    assert part_of("loads (serving/base/jsons.py:1)") == part_of("loads (serving/base/json_codec.py:1)") == "codec"
