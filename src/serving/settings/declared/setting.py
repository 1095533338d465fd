"""The declaration of one setting, as a field of a dataclass.

Knows dataclasses. Knows no setting by name.
"""

from dataclasses import field
from typing import Any

from serving.settings.kinds import Kind

REQUIRED: Any = object()


def setting(default: Any, kind: Kind, meaning: str, *, unit: str = "", deprecation: str = "", group: str = "") -> Any:
    """Declare one setting.

    deprecation: the warning for a file that still sets it. group: the title of the group that this setting begins.
    """
    metadata = {"kind": kind, "meaning": meaning, "unit": unit, "deprecation": deprecation, "group": group}
    if default is REQUIRED:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)
