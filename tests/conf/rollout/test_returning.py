"""Which regions a rollback is about, by their histories: those that serve the version that was deployed last."""

from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Release
from conf.rollout.returning import left_behind, passed_over
from tests.conf.rollout.test_history import items


def after(*releases: tuple[str, str, int]) -> History:
    """A history of versions, how each ended, and the release that it returned to. One of version 3 came at 3 o'clock."""
    found = History()
    for number, (version, state, origin) in enumerate(releases, 1):
        at = f"2026-01-01T{'09' if origin else '0' + version}:00:00Z"
        begun = found.begin(Release(number, version, "registry/cats", at, "ann", origin=origin), items(version))
        found = begun if state == BEGUN else begun.ended(state, ())
    return found


ONE, TWO, THREE = ("1", GOOD, 0), ("2", GOOD, 0), ("3", GOOD, 0)


def gone_back(*found: History, to: str = "") -> list[str]:
    """The version that each region returns to, "" where it is passed over."""
    leaving = left_behind(found)
    older = [each.earlier(to) for each in found]
    return [
        "" if passed_over(each, leaving, to) else one.version if one else "none" for each, one in zip(found, older, strict=True)
    ]


def test_a_region_that_never_got_what_is_left_stays() -> None:
    assert gone_back(after(ONE, TWO, THREE), after(ONE, TWO)) == ["2", ""]
    assert "2 serves there, and this leaves 3" in passed_over(after(ONE, TWO), "3", "")


def test_all_regions_go_back_together_and_further_each_time() -> None:
    assert gone_back(after(ONE, TWO, THREE), after(ONE, TWO, THREE)) == ["2", "2"]
    back = after(ONE, TWO, THREE, ("2", GOOD, 2))
    assert gone_back(back, back) == ["1", "1"]


def test_a_region_that_was_rolled_back_alone_waits_for_the_others() -> None:
    assert gone_back(after(ONE, TWO, THREE, ("2", GOOD, 2)), after(ONE, TWO, THREE)) == ["", "2"]


def test_what_was_undone_by_itself_is_left_already() -> None:
    undone = after(ONE, TWO, ("3", UNDONE, 0))
    assert gone_back(undone) == [""]
    assert gone_back(undone, after(ONE, TWO)) == ["", ""]
    assert gone_back(after(ONE, TWO, THREE), undone) == ["2", ""]
    assert gone_back(after(ONE, TWO, ("2", UNDONE, 0))) == [""]  # the same image with other settings
    assert "3 was undone there by itself, and 2 serves" in passed_over(undone, "3", "")


def test_a_rollback_that_was_undone_or_broken_off_is_taken_up_again() -> None:
    assert gone_back(after(ONE, TWO, THREE, ("2", UNDONE, 2))) == ["2"]
    assert gone_back(after(ONE, TWO, THREE, ("2", BEGUN, 2))) == ["2"]
    assert gone_back(after(ONE, TWO, THREE, ("2", BEGUN, 2)), after(ONE, TWO, THREE)) == ["2", "2"]


def test_a_release_that_was_broken_off_is_left_wherever_it_is() -> None:
    assert gone_back(after(ONE, TWO, ("3", BEGUN, 0)), after(ONE, TWO)) == ["2", ""]
    assert gone_back(after(ONE, TWO, ("3", BEGUN, 0)), after(ONE, TWO, THREE)) == ["2", "2"]
    assert gone_back(after(ONE, ("2", BEGUN, 0)), after(ONE, TWO, THREE)) == ["1", "2"]


def test_a_region_without_an_earlier_release_has_none_and_an_empty_one_neither() -> None:
    assert gone_back(after(THREE), after(ONE, TWO, THREE)) == ["none", "2"]
    assert gone_back(History(), after(ONE, TWO)) == ["none", "1"]


def test_a_version_that_is_named_is_gone_to_from_wherever_one_is() -> None:
    assert gone_back(after(ONE, TWO, THREE), after(ONE, TWO), after(TWO), to="1") == ["1", "1", "none"]
    assert gone_back(after(ONE, TWO, ("3", UNDONE, 0)), to="1") == ["1"]
    back = after(ONE, TWO, THREE, ("1", GOOD, 1))
    assert (gone_back(back, to="3"), gone_back(back, to="1")) == (["3"], [""])


def test_a_rollback_whose_release_is_forgotten_is_older_than_any_deploy() -> None:
    forgotten = History(None, (Release(4, "1", "", "2026-01-01T09:00:00Z", "ann", GOOD, origin=1),), {4: items("1")})
    assert left_behind([forgotten, after(ONE, TWO)]) == "2"
    assert left_behind([History()]) == ""
