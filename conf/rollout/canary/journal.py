"""The journal of a canary, for a page with its curves: what was said, and each look's verdict.

Knows times and words. Does not know how a page looks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from conf.canary.judging import Verdict
from conf.rollout.canary.state import StepVerdict
from conf.rollout.targets import Say


@dataclass(frozen=True)
class Look:
    """A look at the counts. at is in seconds since 1970, step counts from 0, and share is in percent."""

    at: float
    step: int
    share: int
    verdict: Verdict


@dataclass
class Journal:
    """The events of a canary in a region while a command drove it. lines: (seconds since 1970, words).

    verdicts: of all steps so far, those of former commands included.
    """

    region: str
    version: str = ""
    old_version: str = ""
    lines: list[tuple[float, str]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    verdicts: Sequence[StepVerdict] = ()
    clock: Callable[[], float] = time.time

    def telling(self, say: Say) -> Say:
        """Return a function that says a line, and keeps it."""

        def tell(words: str) -> None:
            self.lines.append((self.clock(), words))
            say(words)

        return tell
