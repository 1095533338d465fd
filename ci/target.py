"""Chooses the image that a service needs: target.py FOLDER prints gpu where any of its settings asks for a GPU, else cpu.

Reads only value.py, as data, with the standard library. Does not know the regions: a GPU in one region is enough, since the
image for GPUs runs on CPUs too.
"""

import sys
from pathlib import Path

from serving.settings import SettingsError, ValueFile, load


def target(value: ValueFile) -> str:
    """Return the TARGET of a service's image, cpu or gpu."""
    everywhere = [value.settings, *(value.in_region(region) for region in value.overrides)]
    return "gpu" if any(settings.gpu_memory or settings.gpu_num for settings in everywhere) else "cpu"


def main(folder: str) -> int:
    try:
        print(target(load(Path(folder) / "value.py", None)))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
