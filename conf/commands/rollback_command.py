"""`monopod rollback`: return to the last good release, region by region."""

import contextlib
import os
from argparse import Namespace
from collections.abc import Callable

from conf.base.console import prints_mistakes
from conf.base.image_names import image
from conf.clusters.regions import Regions
from conf.commands.arguments import load_regions, progress_of, read_service
from conf.commands.deploy_message import Operation, notifier
from conf.remote import image_registry
from conf.remote.image_registry import NotThere, RegistryError
from conf.rollout import preflight
from conf.rollout.history import History, reason_to_skip, release_to_leave, utc_now
from conf.rollout.release import roll_back
from conf.rollout.report import EXPECTED_ERRORS, RegionResult, exit_status, run_in_order
from conf.rollout.targets import RegionTrack, deployer, planned_or_left, target_of


@prints_mistakes
def rollback_command(arguments: Namespace) -> int:
    """Roll back each region where the service is to run or was left, and return the exit status."""
    regions = load_regions(arguments)
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)
    histories = {each.region.name: history for each in chosen if (history := _history(each, arguments))}
    leaving = release_to_leave(histories.values())

    def act(each: RegionTrack) -> RegionResult:
        history = histories.get(each.region.name)  # without one, the rollback itself fails and tells why
        if history and (why := reason_to_skip(history, leaving, arguments.to)):
            return RegionResult(each.region.name, each.track, "skipped", words=why)
        say = progress_of(each.region.name, arguments)
        done = roll_back(target_of(each, arguments, say), say, image_check(regions, say), arguments.to)
        state = "unchanged" if done.unchanged else "deployed"
        return RegionResult(each.region.name, each.track, state, done.release.version, done.release.note)

    operation = Operation("rollback", chosen[0].name, arguments.track, deployer())
    return exit_status(run_in_order(arguments, chosen, act, notifier(operation)))


def _history(region_track: RegionTrack, arguments: Namespace) -> History | None:
    with contextlib.suppress(*EXPECTED_ERRORS):
        return preflight.load_history(target_of(region_track, arguments), utc_now())
    return None


def image_check(regions: Regions, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that raises NotThere where the registry no longer has an image that was deployed before.

    A registry that does not answer does not stop a rollback, since nodes keep the images that they have run. It is said.
    """

    def check(text: str) -> None:
        try:
            image_registry.digest(image(text), regions, os.environ)
        except NotThere:
            raise
        except (RegistryError, ValueError) as error:
            say(f"whether {text} is still there could not be asked, and the rollback goes on without: {error}")

    return check
