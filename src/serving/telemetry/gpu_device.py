"""The used memory of the card, as NVIDIA's driver tells it. The only module that imports pynvml.

Knows the first card that the process sees, which is the one that its sessions use. Does not know whose memory it is: other pods
may share the card.

Concurrency: the thread of the metrics page alone calls it.
"""

from functools import cache
from typing import Any, NamedTuple


class Card(NamedTuple):
    """A card. uuid: the same in every pod. used: bytes of its memory."""

    uuid: str
    used: int


def card() -> Card | None:
    """Return the card as it is now, None where the driver or its package cannot be had."""
    driver, handle = _card()
    if driver is None:
        return None
    try:
        return Card(str(driver.nvmlDeviceGetUUID(handle)), int(driver.nvmlDeviceGetMemoryInfo(handle).used))
    except driver.NVMLError:
        return None


@cache
def _card() -> tuple[Any, Any]:
    """Return the driver's module and its handle of the card, or two None. It is asked once: a driver does not come later."""
    try:
        import pynvml
    except ImportError:
        return None, None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError:
        return None, None
