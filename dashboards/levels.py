"""The levels from which a panel's line is yellow, then red: those at which alerts and `monopod health` warn.

Knows where the platform has them. A service may move its own in value.py: a panel of many services shows the defaults.
"""

from conf.base.quantities import shares
from conf.plan.platform_alerts import TMP_WARNS
from serving.settings import Settings

MEMORY = shares(Settings.memory_levels)
CORES = shares(Settings.cpu_levels)
TMP = (TMP_WARNS,)
BUSY = CORES  # of a model's instances; no alert asks it
OPEN_FILES = (0.7, 0.85)  # no alert asks them
ERRORS = (0.001, 0.01)  # what the default objective allows, and ten times as much
