"""value.py of a service: its Settings in each region, or every mistake at once with its line and the cure. A wrong name gets
the right one.

`<region>_<setting>` replaces `<setting>` in that region. The regions' names are an argument.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from serving.settings.consistency import RULES
from serving.settings.declarations import Declaration, Settings, declared_settings
from serving.settings.reader import ConfigError, Reader, UnreadableError, text_of
from serving.settings.value_parser import Assignment, Mistake, assignments

P = ParamSpec("P")
T = TypeVar("T")

DECLARATIONS = declared_settings()
MAX_FILE_KIB = 64
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


class WrongSettingError(Exception):
    """A rule has read a setting whose value is wrong."""


@dataclass(frozen=True, kw_only=True)
class PartialSettings(Settings):
    """Settings some of which are wrong. Reading a wrong one raises WrongSettingError."""

    wrong: frozenset[str]

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "__dict__").get("wrong", ()):
            raise WrongSettingError(name)
        return object.__getattribute__(self, name)


def skip_wrong(rule: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
    """Return what a rule returns, or None where it reads a wrong setting, since that mistake is reported already."""
    with suppress(WrongSettingError):
        return rule(*arguments, **named)
    return None


def skip_wrong_items(items: Iterator[T]) -> Iterator[T]:
    """Yield what a rule yields until it reads a wrong setting, since that mistake is reported already."""
    with suppress(WrongSettingError):
        yield from items


class SettingsError(ConfigError):
    """value.py cannot be used.

    mistakes: one line each, `value.py:7: what is wrong; what to do`.
    rest: the settings of the file that are right, or None where it cannot be read at all.
    """

    def __init__(self, mistakes: Sequence[str], rest: "ValueFile | None" = None):
        super().__init__(mistakes)
        self.rest = rest


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

    def checkable_in(self, region: str = "") -> Settings:
        """Return the settings of a region for rules: reading a wrong one ends the rule, where `skip_wrong` calls it."""
        wrong = self.wrong.get("", frozenset()) - self.overrides.get(region, {}).keys()
        names = wrong | self.wrong.get(region, frozenset())
        settings = self.in_region(region)
        return PartialSettings(**vars(settings), wrong=names) if names else settings

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
        text = text_of(path, MAX_FILE_KIB)
    except UnreadableError as error:
        raise SettingsError(
            [f"{path.name}: {error} in {path.resolve().parent}; a service's folder holds one, copy the root's"]
        ) from None
    return read(text, path.name, regions)


def read(text: str, file: str, regions: Sequence[str] | None) -> ValueFile:
    """Read the text of a value.py. file: its name in messages. regions and errors: as for `load`."""
    reader = _ValueReader(file, regions)
    for found in assignments(text):
        reader.take(found)
    return reader.finish()


class _ValueReader(Reader):
    """Collects values and mistakes, statement by statement."""

    def __init__(self, file: str, regions: Sequence[str] | None):
        super().__init__(file)
        self.regions = regions
        self.values: dict[str, dict[str, Any]] = {"": {}}
        self.wrong: dict[str, set[str]] = {"": set()}
        self.meant: list[str] = []  # the settings that unknown names probably stand for
        self.warnings: list[tuple[int, str]] = []
        for region in regions or ():
            for clash in (name for name in DECLARATIONS if name.startswith(region + "_")):
                self.add(0, f"region {region!r} begins the setting {clash!r}: rename the region")

    def take(self, found: Assignment | Mistake) -> None:
        if isinstance(found, Mistake):
            self.add(found.line, found.message + self._what_to_write(found.missing))
            name = found.missing or found.about
            if name:
                self.lines.setdefault(name, found.line)
                self._mark_wrong(name)
            return
        region, setting = self._split(found.name)
        if setting not in DECLARATIONS:
            self.add(found.line, f"no setting {found.name!r}" + self._nearest(found.name))
        elif found.name in self.lines:
            self.add(found.line, f"{found.name} is already set on line {self.lines[found.name]}; keep one of the two")
            self._mark_wrong(found.name)
        else:
            self.lines[found.name] = found.line
            self._take_value(found, region, DECLARATIONS[setting])

    def finish(self) -> ValueFile:
        base = self.values[""]
        for name in ("service_name", "username"):
            if name not in self.lines:
                self.add(0, f"{name} is missing; add {name} = {DECLARATIONS[name].form.example}")
            if name not in base:
                self._mark_wrong(name)
        for name in self.meant:
            if name not in self.lines:
                self._mark_wrong(name)
        self._apply_rules()
        value = self._value()
        if self.mistakes:
            raise SettingsError(self.sentences(), value)
        return value

    def _value(self) -> ValueFile:
        overrides = {region: values for region, values in self.values.items() if region}
        wrong = {region: frozenset(names) for region, names in self.wrong.items()}
        warnings = tuple(self.sentences(self.warnings))
        return ValueFile(self.file, Settings(**self.values[""]), overrides, wrong, self.lines, warnings)

    def _mark_wrong(self, name: str) -> None:
        """Mark a setting as wrong and give it its default, so that rules that read it report nothing more."""
        region, setting = self._split(name)
        if setting in DECLARATIONS and not (region and DECLARATIONS[setting].default is None):
            default = DECLARATIONS[setting].default
            self.values.setdefault(region, {})[setting] = UNKNOWN if default is None else default
            self.wrong.setdefault(region, set()).add(setting)

    def _take_value(self, found: Assignment, region: str, setting: Declaration) -> None:
        if region and setting.default is None:
            self.add(found.line, f"{found.name}: {setting.name} is the same in every region; set {setting.name}")
            return
        value = self.convert(setting.form, found.value, found.name, setting.unit)
        if value is None:
            self._mark_wrong(found.name)
            return
        self.values.setdefault(region, {})[setting.name] = value
        if setting.deprecation:
            self.warnings.append((found.line, f"{found.name}: {setting.deprecation}"))

    def _apply_rules(self) -> None:
        """Apply the rules to the settings of every region, and report each violation once."""
        value, seen = self._value(), set()
        for region in self.values:
            settings = value.checkable_in(region)
            for violation in filter(None, (skip_wrong(rule, settings) for rule in RULES)):
                names, words = violation
                self.wrong.setdefault(region, set()).update(names)
                if violation not in seen:
                    seen.add(violation)
                    self.add(max(self.lines.get(f"{region}_{name}") or self.lines.get(name) or 0 for name in names), words)

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
            words = f", since {other[1]} is not a region: use one of {known_regions}, or set {other[2]} for all"
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
        words = f"; it must be {setting.form.allowed}: write {missing} = {setting.form.example}"
        return words + (" or delete the line" if setting.default is not None else "")
