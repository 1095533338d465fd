"""What `monopod rollback` does: it returns to the last good release, region by region.

Knows which regions are passed over. Does not know how a release is chosen and applied.
"""

import contextlib
import os
from argparse import Namespace
from collections.abc import Callable

from conf.base.image_names import image
from conf.clusters.region import Regions
from conf.commands.choices import load_regions
from conf.commands.deploy_message import Work, teller
from conf.commands.rollout_choices import chosen, progress
from conf.remote import image_registry
from conf.remote.image_registry import NotThere, RegistryError
from conf.rollout import preflight
from conf.rollout.history import History, utc_now
from conf.rollout.release import roll_back
from conf.rollout.report import EXPECTED_ERRORS, RegionResult, exit_status, run_in_order
from conf.rollout.rollback import reason_to_skip, release_to_leave
from conf.rollout.targets import RegionTrack, deployer, no_target, target_of


def rollback_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None:
        return 1
    targets = chosen(arguments, regions, left_last=True)
    if not targets:
        return 1 if targets is None else no_target(arguments, regions)

    found = {each.region.name: history for each in targets if (history := _history(each, arguments))}
    leaving = release_to_leave(found.values())

    def act(spot: RegionTrack) -> RegionResult:
        history = found.get(spot.region.name)  # None where it could not be asked: then the rollback tells why
        if history and (why := reason_to_skip(history, leaving, arguments.to)):
            return RegionResult(spot.region.name, spot.track, "skipped", words=why)
        say = progress(arguments, spot)
        done = roll_back(target_of(spot, arguments, say), say, still_there(regions, say), arguments.to)
        state = "unchanged" if done.unchanged else "deployed"
        return RegionResult(spot.region.name, spot.track, state, done.release.version, done.release.note)

    work = Work("rollback", targets[0].name, arguments.track, deployer())
    return exit_status(run_in_order(arguments, targets, act, teller(work)))


def _history(spot: RegionTrack, arguments: Namespace) -> History | None:
    with contextlib.suppress(*EXPECTED_ERRORS):
        return preflight.load_history(target_of(spot, arguments), utc_now())
    return None


def still_there(regions: Regions, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what asks, of an image that was deployed before, whether its registry still has it: it raises NotThere.

    A registry that cannot be asked does not keep anyone from going back: nodes hold what they have run.
    """

    def ask(text: str) -> None:
        try:
            image_registry.digest(image(text), regions, os.environ)
        except NotThere:
            raise
        except (RegistryError, ValueError) as error:
            say(f"whether {text} is still there could not be asked, and the rollback goes on without: {error}")

    return ask
