"""The time at which a track is due to sleep: some days after it was deployed or woken.

Knows times as a history keeps them. A pure module.
"""

from datetime import datetime, timedelta

from conf.rollout.history import Release

AT_ONCE = 0  # days


def awake_words(release: Release, days: int, now: str) -> str:
    """Return until when a track stays awake, for a person; "" where it is due or sleeps. now: UTC, ISO 8601."""
    if release.asleep or not days:
        return ""
    since = max(release.at, release.woken)
    until = datetime.fromisoformat(since) + timedelta(days=days)
    if until <= datetime.fromisoformat(now):
        return ""
    return f"it was {'woken' if since == release.woken else 'deployed'} at {since}, and is due at {until:%Y-%m-%dT%H:%M:%SZ}"
