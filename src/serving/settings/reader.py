"""value.py as settings: every mistake at once, with file, line, what is allowed and the nearest name.

Knows how a file becomes Settings, and the one override rule: `<region>_<setting>` replaces `<setting>` in that region.
The regions' names are an argument. Does not know what the settings are for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.settings.consistency import RULES
from serving.settings.declarations import Declaration, Settings, declared_settings
from serving.settings.kinds import nearest_value
from serving.settings.nearest import Nearest
from serving.settings.partial import judged, without
from serving.settings.statements import Assignment, Mistake, assignments
from serving.settings.text_files import UnreadableError, text_of

DECLARATIONS = declared_settings()
LARGEST_FILE = 64  # KiB
UNKNOWN = "unknown"  # in the place of a name that is missing or wrong
OTHER_NAMES = {  # what people write for a setting's name, and no likeness of letters finds
    "gpu": "gpu_memory",
    "gpus": "gpu_memory",
    "gpu_mem": "gpu_memory",
    "user": "username",
    "name": "service_name",
    "service": "service_name",
    "model": "model_path",
    "ram": "memory",
    "mem": "memory",
    "min_replicas": "replicas",
    "batch_size": "max_batch_size",
    "timeout": "timeout_second",
    "port": "host_port",
}
ANY_REGION = re.compile(r"([a-z][a-z0-9]{1,9})_(.+)")


class SettingsError(Exception):
    """value.py cannot be used.

    mistakes: a line each, `value.py:7: what is wrong; what to do`.
    rest: the file as far as it can be judged, None where it cannot be read at all.
    """

    def __init__(self, mistakes: Sequence[str], rest: "ValueFile | None" = None):
        self.mistakes, self.rest = tuple(mistakes), rest
        super().__init__("\n".join(mistakes))


@dataclass(frozen=True)
class ValueFile:
    """value.py, read and checked.

    settings: as they hold where no region says otherwise.
    overrides: region -> setting -> value, converted.
    wrong: region, or "" for all -> settings whose value is wrong, and which stand at their default.
    lines: the file's own name of a setting ("hk_replicas") -> its line.
    warnings: a line each, in the form of a mistake.
    """

    file: str
    settings: Settings
    overrides: Mapping[str, Mapping[str, Any]]
    wrong: Mapping[str, frozenset[str]]
    lines: Mapping[str, int]
    warnings: tuple[str, ...]

    def in_region(self, region: str) -> Settings:
        """Return the settings as they hold in a region."""
        values = {name: getattr(self.settings, name) for name in DECLARATIONS}
        return Settings(**{**values, **self.overrides.get(region, {})})

    def judged_in(self, region: str = "") -> Settings:
        """Return the settings as rules may judge them: asking for one that is wrong ends the rule (all_judged)."""
        wrong = self.wrong.get("", frozenset()) - self.overrides.get(region, {}).keys()
        return without(self.in_region(region), wrong | self.wrong.get(region, frozenset()))

    def place(self, setting: str, region: str = "") -> str:
        """Return where a setting is said, as `value.py:7`, or the file alone where it has its default."""
        line = self.lines.get(f"{region}_{setting}") or self.lines.get(setting)
        return f"{self.file}:{line}" if line else self.file


def load(path: Path, regions: Sequence[str] | None) -> ValueFile:
    """Read a service's value.py.

    regions: the clusters' names, or None where they are not known: then any short word may stand before a setting.
    Raises SettingsError with every mistake, a missing or unreadable file included.
    """
    try:
        text = text_of(path, LARGEST_FILE)
    except UnreadableError as error:
        raise SettingsError(
            [f"{path.name}: {error} in {path.resolve().parent}; a service's folder holds one, copy the root's"]
        ) from None
    return read(text, path.name, regions)


def read(text: str, file: str, regions: Sequence[str] | None) -> ValueFile:
    """Read the text of a value.py. Arguments and errors as for `load`."""
    reader = _Reader(file, regions)
    for found in assignments(text):
        reader.take(found)
    return reader.finish()


class _Reader:
    """Collects values and mistakes, statement by statement."""

    def __init__(self, file: str, regions: Sequence[str] | None):
        self.file, self.regions = file, regions
        self.nearest = Nearest()
        self.values: dict[str, dict[str, Any]] = {"": {}}
        self.lines: dict[str, int] = {}
        self.wrong: dict[str, set[str]] = {"": set()}
        self.meant: list[str] = []  # the names that unknown ones may stand for
        self.mistakes: list[tuple[int, str]] = []
        self.warnings: list[tuple[int, str]] = []
        for region in regions or ():
            for clash in (name for name in DECLARATIONS if name.startswith(region + "_")):
                self.mistakes.append((0, f"region {region!r} begins the setting {clash!r}: name the region otherwise"))

    def take(self, found: Assignment | Mistake) -> None:
        if isinstance(found, Mistake):
            self.mistakes.append((found.line, found.message + self._cure(found.missing)))
            name = found.missing or found.about
            if name:
                self.lines.setdefault(name, found.line)
                self._doubt(name)
            return
        region, setting = self._split(found.name)
        if setting not in DECLARATIONS:
            self.mistakes.append((found.line, f"no setting {found.name!r}" + self._nearest(found.name)))
        elif found.name in self.lines:
            first = self.lines[found.name]
            self.mistakes.append((found.line, f"{found.name} is set on line {first} already; keep one of the two"))
            self._doubt(found.name)
        else:
            self.lines[found.name] = found.line
            self._convert(found, region, DECLARATIONS[setting])

    def finish(self) -> ValueFile:
        base = self.values[""]
        for name in ("service_name", "username"):
            if name not in self.lines:
                example = DECLARATIONS[name].kind.example
                self.mistakes.append((0, f"{name} is missing; add a line such as {name} = {example}"))
            if name not in base:
                self._doubt(name)
        for name in self.meant:
            if name not in self.lines:
                self._doubt(name)
        self._agree()
        value = self._value()
        if self.mistakes:
            raise SettingsError(self._sentences(self.mistakes), value)
        return value

    def _value(self) -> ValueFile:
        overrides = {region: values for region, values in self.values.items() if region}
        wrong = {region: frozenset(names) for region, names in self.wrong.items()}
        warnings = tuple(self._sentences(self.warnings))
        return ValueFile(self.file, Settings(**self.values[""]), overrides, wrong, self.lines, warnings)

    def _doubt(self, name: str) -> None:
        """Give a setting its default, and keep what is wrong with it from being said of others too."""
        region, setting = self._split(name)
        if setting in DECLARATIONS and not (region and DECLARATIONS[setting].default is None):
            default = DECLARATIONS[setting].default
            self.values.setdefault(region, {})[setting] = UNKNOWN if default is None else default
            self.wrong.setdefault(region, set()).add(setting)

    def _convert(self, found: Assignment, region: str, setting: Declaration) -> None:
        if region and setting.default is None:
            self.mistakes.append((found.line, f"{found.name}: {setting.name} is the same in every region; set {setting.name}"))
            return
        try:
            self.values.setdefault(region, {})[setting.name] = setting.kind.convert(found.value)
        except (ValueError, TypeError, OverflowError):
            unit = f" ({setting.unit})" if setting.unit else ""
            shown = _shown(found.value)
            words = (
                f"{found.name} is {shown}, but must be {setting.kind.allowed}{unit}{nearest_value(setting.kind, found.value)}"
            )
            self.mistakes.append((found.line, words))
            self._doubt(found.name)
            return
        if setting.deprecation:
            self.warnings.append((found.line, f"{found.name}: {setting.deprecation}"))

    def _agree(self) -> None:
        """Apply the rules to the settings of every region, and say each broken one once."""
        value, seen = self._value(), set()
        for region in self.values:
            settings = value.judged_in(region)
            for broken in filter(None, (judged(rule, settings) for rule in RULES)):
                self.wrong.setdefault(region, set()).update(broken[0])
                if broken not in seen:
                    seen.add(broken)
                    lines = [self.lines.get(f"{region}_{name}") or self.lines.get(name) or 0 for name in broken[0]]
                    self.mistakes.append((max(lines), broken[1]))

    def _split(self, name: str) -> tuple[str, str]:
        """Return the region that a name begins with, or "", and the setting."""
        if name in DECLARATIONS:
            return "", name
        if self.regions is None:
            match = ANY_REGION.fullmatch(name)
            return (match[1], match[2]) if match and match[2] in DECLARATIONS else ("", name)
        region = next((r for r in self.regions if name.startswith(r + "_")), "")
        return region, name.removeprefix(region + "_") if region else name

    def _nearest(self, name: str) -> str:
        region, setting = self._split(name)
        other = ANY_REGION.fullmatch(name)
        if setting in OTHER_NAMES:
            near = f"{region}_" * bool(region) + OTHER_NAMES[setting]
            unit = DECLARATIONS[OTHER_NAMES[setting]].unit
            words = f"; did you mean {near!r}{f' ({unit})' if unit else ''}?"
        elif other and other[2] in DECLARATIONS and self.regions is not None:
            near = ""
            words = f", for {other[1]} is no region: name one of {', '.join(self.regions) or 'none'}, or set {other[2]} for all"
        else:
            known = [*DECLARATIONS, *(f"{r}_{setting}" for r in self.regions or () for setting in DECLARATIONS)]
            near = self.nearest.to(name, known)
            words = f"; did you mean {near!r}?" if near else "; `monopod settings` lists them"
        self.meant += [near] if near else []
        return words

    def _cure(self, missing: str) -> str:
        setting = DECLARATIONS.get(self._split(missing)[1]) if missing else None
        if setting is None:
            return self._nearest(missing) if missing else ""
        words = f"; it must be {setting.kind.allowed}: write {missing} = {setting.kind.example}"
        return words + (" or delete the line" if setting.default is not None else "")

    def _sentences(self, found: Iterable[tuple[int, str]]) -> list[str]:
        return [f"{self.file}:{line}: {text}" if line else f"{self.file}: {text}" for line, text in sorted(found)]


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else shown[:57] + "..."
