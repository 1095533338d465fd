"""Lets the tests import the service's modules by their names, as the service itself does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
