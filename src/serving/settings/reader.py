"""The reader of value.py: Settings, or every mistake at once, each with its line, the allowed values and the nearest name.

Knows the one override rule: `<region>_<setting>` replaces `<setting>` in that region. The regions' names are an argument.
Does not know what the settings are for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.settings.consistency import RULES
from serving.settings.declarations import Declaration, Settings, declared_settings
from serving.settings.nearest import Nearest, nearest_value
from serving.settings.partial import judged, without
from serving.settings.text_files import UnreadableError, text_of
from serving.settings.value_parser import Assignment, Mistake, assignments

DECLARATIONS = declared_settings()
LARGEST_FILE = 64  # KiB
UNKNOWN = "unknown"  # stands for a service_name or username that is missing or wrong
OTHER_NAMES = {  # names that people write for a setting, and that share too few letters with it to be found
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

    mistakes: one line each, `value.py:7: what is wrong; what to do`.
    rest: the settings of the file that are right, or None where it cannot be read at all.
    """

    def __init__(self, mistakes: Sequence[str], rest: "ValueFile | None" = None):
        self.mistakes, self.rest = tuple(mistakes), rest
        super().__init__("\n".join(mistakes))


@dataclass(frozen=True)
class ValueFile:
    """value.py, read and checked."""

    file: str
    settings: Settings  # In a region that overrides none.
    overrides: Mapping[str, Mapping[str, Any]]  # Region -> setting -> value, converted.
    wrong: Mapping[str, frozenset[str]]  # Region, or "" for all -> settings whose value is wrong. They have their default here.
    lines: Mapping[str, int]  # A setting's name as the file has it ("hk_replicas") -> its line.
    warnings: tuple[str, ...]  # One line each, in the form of a mistake.

    def in_region(self, region: str) -> Settings:
        """Return the settings of a region."""
        values = {name: getattr(self.settings, name) for name in DECLARATIONS}
        return Settings(**{**values, **self.overrides.get(region, {})})

    def judged_in(self, region: str = "") -> Settings:
        """Return the settings of a region for rules: reading a wrong one ends the rule, where `judged` calls it."""
        wrong = self.wrong.get("", frozenset()) - self.overrides.get(region, {}).keys()
        return without(self.in_region(region), wrong | self.wrong.get(region, frozenset()))

    def place(self, setting: str, region: str = "") -> str:
        """Return the line that sets a setting, as `value.py:7`, or the file alone where the setting has its default."""
        line = self.lines.get(f"{region}_{setting}") or self.lines.get(setting)
        return f"{self.file}:{line}" if line else self.file


def load(path: Path, regions: Sequence[str] | None) -> ValueFile:
    """Read a service's value.py.

    regions: the clusters' names, or None where they are not known; any short word may then precede a setting.
    Raises SettingsError with every mistake, also where the file is missing or unreadable.
    """
    try:
        text = text_of(path, LARGEST_FILE)
    except UnreadableError as error:
        raise SettingsError(
            [f"{path.name}: {error} in {path.resolve().parent}; a service's folder holds one, copy the root's"]
        ) from None
    return read(text, path.name, regions)


def read(text: str, file: str, regions: Sequence[str] | None) -> ValueFile:
    """Read the text of a value.py. file: its name in messages. regions and errors: as for `load`."""
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
        self.meant: list[str] = []  # the settings that unknown names probably stand for
        self.mistakes: list[tuple[int, str]] = []
        self.warnings: list[tuple[int, str]] = []
        for region in regions or ():
            for clash in (name for name in DECLARATIONS if name.startswith(region + "_")):
                self.mistakes.append((0, f"region {region!r} begins the setting {clash!r}: name the region otherwise"))

    def take(self, found: Assignment | Mistake) -> None:
        if isinstance(found, Mistake):
            self.mistakes.append((found.line, found.message + self._what_to_write(found.missing)))
            name = found.missing or found.about
            if name:
                self.lines.setdefault(name, found.line)
                self._mark_wrong(name)
            return
        region, setting = self._split(found.name)
        if setting not in DECLARATIONS:
            self.mistakes.append((found.line, f"no setting {found.name!r}" + self._nearest(found.name)))
        elif found.name in self.lines:
            first = self.lines[found.name]
            self.mistakes.append((found.line, f"{found.name} is set on line {first} already; keep one of the two"))
            self._mark_wrong(found.name)
        else:
            self.lines[found.name] = found.line
            self._convert(found, region, DECLARATIONS[setting])

    def finish(self) -> ValueFile:
        base = self.values[""]
        for name in ("service_name", "username"):
            if name not in self.lines:
                example = DECLARATIONS[name].validator.example
                self.mistakes.append((0, f"{name} is missing; add a line such as {name} = {example}"))
            if name not in base:
                self._mark_wrong(name)
        for name in self.meant:
            if name not in self.lines:
                self._mark_wrong(name)
        self._apply_rules()
        value = self._value()
        if self.mistakes:
            raise SettingsError(self._sentences(self.mistakes), value)
        return value

    def _value(self) -> ValueFile:
        overrides = {region: values for region, values in self.values.items() if region}
        wrong = {region: frozenset(names) for region, names in self.wrong.items()}
        warnings = tuple(self._sentences(self.warnings))
        return ValueFile(self.file, Settings(**self.values[""]), overrides, wrong, self.lines, warnings)

    def _mark_wrong(self, name: str) -> None:
        """Mark a setting as wrong and give it its default, so that rules that read it report nothing more."""
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
            self.values.setdefault(region, {})[setting.name] = setting.validator.convert(found.value)
        except (ValueError, TypeError, OverflowError):
            unit = f" ({setting.unit})" if setting.unit else ""
            near = nearest_value(setting.validator, found.value)
            words = f"{found.name} is {_shown(found.value)}, but must be {setting.validator.allowed}{unit}{near}"
            self.mistakes.append((found.line, words))
            self._mark_wrong(found.name)
            return
        if setting.deprecation:
            self.warnings.append((found.line, f"{found.name}: {setting.deprecation}"))

    def _apply_rules(self) -> None:
        """Apply the rules to the settings of every region, and report each violation once."""
        value, seen = self._value(), set()
        for region in self.values:
            settings = value.judged_in(region)
            for violation in filter(None, (judged(rule, settings) for rule in RULES)):
                names, words = violation
                self.wrong.setdefault(region, set()).update(names)
                if violation not in seen:
                    seen.add(violation)
                    lines = [self.lines.get(f"{region}_{name}") or self.lines.get(name) or 0 for name in names]
                    self.mistakes.append((max(lines), words))

    def _split(self, name: str) -> tuple[str, str]:
        """Return the region that a name begins with, or "", and the rest: the setting."""
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
            known_regions = ", ".join(self.regions) or "none"
            words = f", since {other[1]} is no region: name one of {known_regions}, or set {other[2]} for all"
        else:
            known = [*DECLARATIONS, *(f"{r}_{setting}" for r in self.regions or () for setting in DECLARATIONS)]
            near = self.nearest.to(name, known)
            words = f"; did you mean {near!r}?" if near else "; `monopod settings` lists them"
        self.meant += [near] if near else []
        return words

    def _what_to_write(self, missing: str) -> str:
        setting = DECLARATIONS.get(self._split(missing)[1]) if missing else None
        if setting is None:
            return self._nearest(missing) if missing else ""
        words = f"; it must be {setting.validator.allowed}: write {missing} = {setting.validator.example}"
        return words + (" or delete the line" if setting.default is not None else "")

    def _sentences(self, found: Iterable[tuple[int, str]]) -> list[str]:
        return [f"{self.file}:{line}: {text}" if line else f"{self.file}: {text}" for line, text in sorted(found)]


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # Python writes out no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else shown[:57] + "..."
