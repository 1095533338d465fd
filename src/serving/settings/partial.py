"""Settings of which some are wrong, so that all that does not depend on those can be judged all the same.

Knows Settings. Does not know what is wrong with which.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from serving.settings.declarations import Settings

P = ParamSpec("P")
T = TypeVar("T")


class WrongSettingError(Exception):
    """A setting was asked for whose value is wrong."""


@dataclass(frozen=True, kw_only=True)
class PartialSettings(Settings):
    """Settings of which some are wrong. Asking for one of those raises WrongSettingError."""

    wrong: frozenset[str]

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "__dict__").get("wrong", ()):
            raise WrongSettingError(name)
        return object.__getattribute__(self, name)


def without(settings: Settings, wrong: Iterable[str]) -> Settings:
    """Return settings of which some are wrong. settings: complete, with any value for those."""
    names = frozenset(wrong)
    return PartialSettings(**vars(settings), wrong=names) if names else settings


def judged(rule: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
    """Return what a rule says, or None where it depends on a setting that is wrong, of which a person is told already."""
    with suppress(WrongSettingError):
        return rule(*arguments, **named)
    return None


def all_judged(items: Iterator[T]) -> Iterator[T]:
    """Yield what a rule says until it asks for a setting that is wrong, of which a person is told already."""
    with suppress(WrongSettingError):
        yield from items
