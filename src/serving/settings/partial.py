"""Settings some of which are wrong: rules that do not read those can still be applied.

Knows Settings. Does not know why a setting is wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from serving.settings.declarations import Settings

P = ParamSpec("P")
T = TypeVar("T")


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


def without(settings: Settings, wrong: Iterable[str]) -> Settings:
    """Return the settings with some of them marked as wrong. settings: complete, with any value for the wrong ones."""
    names = frozenset(wrong)
    return PartialSettings(**vars(settings), wrong=names) if names else settings


def judged(rule: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
    """Return what a rule returns, or None where it reads a wrong setting, since that mistake is reported already."""
    with suppress(WrongSettingError):
        return rule(*arguments, **named)
    return None


def all_judged(items: Iterator[T]) -> Iterator[T]:
    """Yield what a rule yields until it reads a wrong setting, since that mistake is reported already."""
    with suppress(WrongSettingError):
        yield from items
