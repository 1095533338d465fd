"""Tests that install charts on a real cluster share the fixtures of tests that deploy to one."""

from tests.conf.rollout.conftest import eu, hk, images, servers

__all__ = ["eu", "hk", "images", "servers"]
