"""Fixtures of the tests that install charts on a real cluster: those of the tests that deploy to one."""

from tests.conf.rollout.conftest import eu, hk, images, servers

__all__ = ["eu", "hk", "images", "servers"]
