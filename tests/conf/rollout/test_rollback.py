"""The choice of a rollback by its histories: it concerns the regions that serve the version deployed last."""

from collections.abc import Sequence

from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Release
from conf.rollout.rollback import no_release_message, reason_to_skip, release_to_leave, returnable_versions, rollback_note
from tests.conf.rollout.test_history import items


def after(*releases: tuple[str, str, int], digests: Sequence[str] = ()) -> History:
    """A history of versions, how each ended, and the release that it returned to. One of version 3 came at 3 o'clock.

    digests: a letter for each release's image; left out, all were deployed by their tags. A later one came a minute later.
    """
    found = History()
    for number, (version, state, origin) in enumerate(releases, 1):
        letter = digests[number - 1] if digests else ""
        image = f"registry/cats@{digest(letter)}" if letter else "registry/cats"
        at = f"2026-01-01T{'09' if origin else '0' + version}:0{number}:00Z"
        begun = found.begin(Release(number, version, image, at, "ann", origin=origin), items(version + letter))
        found = begun if state == BEGUN else begun.end(state, ())
    return found


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


ONE, TWO, THREE = ("1", GOOD, 0), ("2", GOOD, 0), ("3", GOOD, 0)


def gone_back(*found: History, to: str = "") -> list[str]:
    """Return the version to which each region returns, "" where it is skipped."""
    leaving = release_to_leave(found)
    older = [each.rollback_release(to) for each in found]
    return [
        "" if reason_to_skip(each, leaving, to) else one.version if one else "none"
        for each, one in zip(found, older, strict=True)
    ]


def test_a_region_that_never_got_the_version_to_leave_stays() -> None:
    assert gone_back(after(ONE, TWO, THREE), after(ONE, TWO)) == ["2", ""]
    assert "2 serves there, and this leaves 3" in reason_to_skip(after(ONE, TWO), release_to_leave([after(THREE)]), "")


def test_all_regions_are_rolled_back_together_and_further_each_time() -> None:
    assert gone_back(after(ONE, TWO, THREE), after(ONE, TWO, THREE)) == ["2", "2"]
    back = after(ONE, TWO, THREE, ("2", GOOD, 2))
    assert gone_back(back, back) == ["1", "1"]


def test_a_region_that_was_rolled_back_alone_waits_for_the_others() -> None:
    assert gone_back(after(ONE, TWO, THREE, ("2", GOOD, 2)), after(ONE, TWO, THREE)) == ["", "2"]


def test_a_release_that_was_undone_by_itself_needs_no_rollback() -> None:
    undone = after(ONE, TWO, ("3", UNDONE, 0))
    assert gone_back(undone) == [""]
    assert gone_back(undone, after(ONE, TWO)) == ["", ""]
    assert gone_back(after(ONE, TWO, THREE), undone) == ["2", ""]
    assert gone_back(after(ONE, TWO, ("2", UNDONE, 0))) == [""]  # the same image with other settings
    assert "3 was undone there by itself, and 2 serves" in reason_to_skip(undone, release_to_leave([undone]), "")


def test_a_rollback_that_was_undone_or_broken_off_is_taken_up_again() -> None:
    assert gone_back(after(ONE, TWO, THREE, ("2", UNDONE, 2))) == ["2"]
    assert gone_back(after(ONE, TWO, THREE, ("2", BEGUN, 2))) == ["2"]
    assert gone_back(after(ONE, TWO, THREE, ("2", BEGUN, 2)), after(ONE, TWO, THREE)) == ["2", "2"]


def test_a_release_that_was_broken_off_is_left_wherever_it_is() -> None:
    assert gone_back(after(ONE, TWO, ("3", BEGUN, 0)), after(ONE, TWO)) == ["2", ""]
    assert gone_back(after(ONE, TWO, ("3", BEGUN, 0)), after(ONE, TWO, THREE)) == ["2", "2"]
    assert gone_back(after(ONE, ("2", BEGUN, 0)), after(ONE, TWO, THREE)) == ["1", "2"]


def test_a_region_without_an_earlier_release_or_without_any_has_none_to_return_to() -> None:
    assert gone_back(after(THREE), after(ONE, TWO, THREE)) == ["none", "2"]
    assert gone_back(History(), after(ONE, TWO)) == ["none", "1"]


def test_a_rollback_reaches_a_named_version_from_any_other_version() -> None:
    assert gone_back(after(ONE, TWO, THREE), after(ONE, TWO), after(TWO), to="1") == ["1", "1", "none"]
    assert gone_back(after(ONE, TWO, ("3", UNDONE, 0)), to="1") == ["1"]
    back = after(ONE, TWO, THREE, ("1", GOOD, 1))
    assert (gone_back(back, to="3"), gone_back(back, to="1")) == (["3"], [""])


def test_a_rollback_whose_release_is_forgotten_is_older_than_any_deploy() -> None:
    forgotten = History(None, (Release(4, "1", "", "2026-01-01T09:00:00Z", "ann", GOOD, origin=1),), {4: items("1")})
    left = release_to_leave([forgotten, after(ONE, TWO)])
    assert left is not None
    assert left.version == "2"
    assert release_to_leave([History()]) is None


def test_a_tag_that_was_pushed_again_is_another_version_and_each_is_told_by_its_digest() -> None:
    twice, once = after(ONE, ONE, digests="ab"), after(ONE, digests="a")
    assert [each.digest if (each := found.rollback_release()) else "" for found in (twice, once)] == [digest("a"), ""]
    leaving = release_to_leave([once, twice])
    assert reason_to_skip(twice, leaving, "") == ""
    told = reason_to_skip(once, leaving, "")
    assert told == "1 (sha256:aaaaaaaaaaaa) serves there, and this leaves 1 (sha256:bbbbbbbbbbbb); --to names a version"


def test_a_version_is_named_by_its_tag_or_by_its_digest_or_the_beginning_of_that() -> None:
    found = after(ONE, ONE, TWO, digests="abc")
    for named, letter in (("1", "b"), (digest("a"), "a"), (digest("b")[:19], "b"), ("2", "c")):
        older = found.rollback_release(named)
        assert older is not None
        assert older.digest == digest(letter)
    assert [found.rollback_release(named) for named in ("3", digest("d"), "sha256:", "sha256:aa")] == [None] * 4
    assert "serves there already" in reason_to_skip(found, None, digest("c"))


def test_a_tag_that_serves_already_is_told_with_how_to_name_another_image_of_it() -> None:
    twice = after(ONE, TWO, ONE, digests="abc")
    told = "1 (sha256:cccccccccccc) serves there already; --to sha256:aaaaaaaaaaaa names another image of 1"
    assert reason_to_skip(twice, None, "1") == told
    older = twice.rollback_release("sha256:aaaaaaaaaaaa")
    assert older is not None
    assert older.digest == digest("a")
    assert reason_to_skip(after(ONE, ONE, digests="aa"), None, "1") == "1 serves there already"


def test_a_rollback_is_told_by_versions_and_by_digests_or_times_where_versions_are_the_same() -> None:
    def told(found: History, to: str = "") -> str:
        older = found.rollback_release(to)
        assert older is not None
        return rollback_note(found, older)

    assert told(after(ONE, TWO)) == "rolled back from 2 to 1"
    assert told(after(ONE, TWO, ("3", BEGUN, 0))) == "rolled back from 3 to 2"
    assert told(after(ONE, TWO, ("3", UNDONE, 0))) == "rolled back from 2 to 1"
    assert told(after(ONE, ONE, digests="ab")) == "rolled back from 1 (sha256:bbbbbbbbbbbb) to 1 (sha256:aaaaaaaaaaaa)"
    assert told(after(ONE, ONE), to="1") == "rolled back to 1 of 2026-01-01T01:02:00Z"
    assert told(after(ONE, ("", BEGUN, 0))) == "rolled back to 1"  # a stop that was broken off


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    assert no_release_message(after(ONE), "") == "no earlier good release to return to"
    assert no_release_message(History(), "9") == "no good release of version 9 to return to; there is none"
    assert no_release_message(after(ONE), "9") == "no good release of version 9 to return to; there is 1"
    assert no_release_message(after(ONE, TWO, ("3", UNDONE, 0), ONE), "9").endswith("; there are 1, 2")
    twice = after(ONE, TWO, ONE, digests="abc")
    assert returnable_versions(twice) == ["1 (sha256:cccccccccccc)", "2", "1 (sha256:aaaaaaaaaaaa)"]
