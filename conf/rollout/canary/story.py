"""The words about a canary that `status` prints.

Knows states. Asks nobody.
"""

from conf.rollout.canary.state import HELD, JUDGING, RAISING, TAKING_OVER, Canary

WAITS_FOR = {
    RAISING: "its pods",
    JUDGING: "a verdict",
    HELD: "a person: `monopod deploy --continue` goes on, `monopod rollback` takes it back",
    TAKING_OVER: "the service's own pods to be replaced",
}


def status_lines(canary: Canary, version: str, changer: str, now: float) -> list[str]:
    """Return what a person needs to know: step and share, what is waited for, and each verdict.

    changer: who drives it now, "" for nobody. now: seconds since 1970.
    """
    share = 100 if canary.phase == TAKING_OVER else canary.share
    step = f"step {canary.step + 1} of {len(canary.shares)}, {share} %"
    driver = f"driven by {changer}" if changer else f"driven by nobody for {max(0.0, now - canary.driven_at):.0f} s"
    waits = WAITS_FOR[canary.phase]
    if not changer and canary.phase != HELD:
        waits = f"a command: `monopod deploy --continue` goes on with {waits}, `monopod rollback` takes it back"
    lines = [f"canary of {version}: {step}, {canary.phase}, {driver}; waited for: {waits}"]
    if not canary.baseline:
        lines.append(f"it is compared with the old pods: {canary.why_no_baseline}")
    for number, verdict in enumerate(canary.verdicts, 1):
        lines += [f"step {number}, {verdict.share} %: {words}" for words in verdict.words or (verdict.state,)]
    return lines
