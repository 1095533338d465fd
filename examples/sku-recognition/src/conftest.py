"""Lets the tests import this example's modules by name, as the service does."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # last, so that no other service's module of that name is hidden
