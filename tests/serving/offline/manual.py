"""The first steps of docs/offline.md: what they say to write and to type."""

import re

from tests.running import ROOT

STEPS = ("value.py", "try", "table", "run", "brokers", "secret")  # the steps that have a block


def steps() -> dict[str, str]:
    """Return the block of each step, by its name in STEPS."""
    section = (ROOT / "docs/offline.md").read_text().split("\n## ")[1]
    found = re.findall(r"(?:^       .*\n)+", section, re.MULTILINE)
    return dict(zip(STEPS, (re.sub(r"^       ", "", each, flags=re.MULTILINE) for each in found), strict=True))
