"""Finds the programs and servers that a test needs and a machine may lack.

Without one of them a test is skipped on a laptop, and fails in CI.
"""

import os
import shutil
from typing import NoReturn

import pytest


def missing(words: str) -> NoReturn:
    """End a test that cannot run: skipped on a laptop, failed in CI. words: what is missing, and the cure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(words)


def program(name: str, package: str) -> str:
    """Return a program's path. Where it is missing, the test ends and names the Debian package that has it."""
    return shutil.which(name) or missing(f"{name} is missing: install the Debian package {package}")


def istio_gateway() -> str:
    """Return the address of Istio's gateway."""
    return os.environ.get("MONOPOD_TEST_ISTIO_GATEWAY") or missing(
        "MONOPOD_TEST_ISTIO_GATEWAY is not set: it names where Istio's gateway istio-system/public answers, as http://10.0.0.5:80"
    )


def kubeconfig() -> str:
    """Return the file that names the clusters."""
    return os.environ.get("KUBECONFIG") or missing(
        "KUBECONFIG is not set: it names the Kubernetes cluster of these tests (kind will do, with the resource types)"
    )
