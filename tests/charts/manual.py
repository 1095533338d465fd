"""The commands of docs/cluster.md and docs/first-cluster.md, and the folder in which a person types them."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.running import PYTHONPATH, ROOT

PAGE = ROOT / "docs/cluster.md"


def commands(heading: str, page: Path = PAGE) -> list[str]:
    """Return the commands below a heading, each with its continued lines. heading: as it begins, such as "## 3."."""
    section = page.read_text(encoding="utf-8").partition(f"\n{heading}")[2].partition("\n## ")[0]
    lines = "\n".join(line.strip() for line in section.splitlines() if re.match(" {4,}[a-zA-Z-]", line))
    return re.sub(r"\\\n|(?<=\|)\n", " ", lines).splitlines()


@dataclass(frozen=True)
class Desk:
    """A folder in which the page's commands are typed. words: what stands on the page -> what stands here."""

    folder: Path
    words: Mapping[str, str]

    def monopod_is(self, regions_file: Path, after: str) -> None:
        """Put a `monopod` into the folder that uses another regions.yaml. after: a filter for what `monopod values` prints."""
        program = self.folder / "bin/monopod"
        program.parent.mkdir(exist_ok=True)
        call = f'{sys.executable} -m monopod "$verb" --regions {regions_file}'
        text = f'#!/bin/sh\nverb=$1; shift\ncase "$verb" in values) {call} "$@" | {after};; *) exec {call} "$@";; esac\n'
        program.write_text(text)
        program.chmod(0o755)

    def type(self, command: str, *, status: int = 0) -> str:
        """Run one of the page's commands by bash, and return all that it printed. It must end with the status."""
        for old, new in self.words.items():
            command = command.replace(old, new)
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": PYTHONPATH,
            "NO_PROXY": "*",
        }
        strict = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(strict, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr
