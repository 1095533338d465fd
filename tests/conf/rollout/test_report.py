"""Each end of a command near the cluster has an exit status of its own, and the manual lists it."""

import re

from conf.rollout.report import DIAGNOSIS_STATUS, EXIT_STATUS, OUTSIDE_WINDOWS, STOPPED
from tests.running import ROOT


def test_the_manual_lists_every_exit_status_and_no_other() -> None:
    table = (ROOT / "docs/deploy.md").read_text().partition("### Exit statuses\n")[2].partition("\n\n")[0]
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    own = {OUTSIDE_WINDOWS, STOPPED, *DIAGNOSIS_STATUS.values(), *(number for _, number in EXIT_STATUS)} - {0}
    assert set(listed) == {0, 1, 2, 3} | own
    assert listed == sorted(set(listed))
