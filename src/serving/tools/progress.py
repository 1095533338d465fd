"""A bar on stderr while long work runs. Only this module imports tqdm.

Knows terminals. Does not know the work.
"""

import contextlib
from collections.abc import Callable, Iterator

from tqdm import tqdm


@contextlib.contextmanager
def progress(total: float, what: str, unit: str = "") -> Iterator[Callable[[float], None]]:
    """Show how much of `total` is done, for the length of a block; where stderr is no terminal, nothing.

    Yields a function that takes what is done by now, from 0 to total.
    """
    form = "{l_bar}{bar}| {n:.0f}/{total:.0f}" + unit
    with tqdm(total=total, desc=what, bar_format=form, leave=False, disable=None) as bar:

        def done(now: float) -> None:
            bar.update(min(now, total) - bar.n)

        yield done
