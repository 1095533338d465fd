"""Finds the programs and servers that a test needs and a machine may lack.

Without one of them a test is skipped on a laptop, and fails in CI.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(words: str) -> NoReturn:
    """End a test that cannot run: skipped on a laptop, failed in CI. words: what is missing, and the cure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(words)


def program(name: str, package: str) -> str:
    """Return a program's path. Where it is missing, the test ends and names the Debian package that has it."""
    return shutil.which(name) or missing(f"{name} is missing: install the Debian package {package}")


def helm() -> str:
    """Return helm's path."""
    return shutil.which("helm") or missing(
        "helm is missing, and Debian has no package of it: put its program on PATH (helm.sh)"
    )


def kubectl() -> str:
    """Return kubectl's path."""
    return shutil.which("kubectl") or missing(
        "kubectl is missing, and Debian has no package of it: put its program on PATH (kubernetes.io/docs/tasks/tools)"
    )


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


def kafka_for_pods() -> str:
    """Return the address of a Kafka broker that this machine and the pods of the cluster reach."""
    return os.environ.get("MONOPOD_TEST_KAFKA_PODS") or missing(
        "MONOPOD_TEST_KAFKA_PODS is not set: it names a Kafka broker of version 4.0 or newer that pods reach, as 10.0.0.1:9094"
    )


def kafka() -> str:
    """Return the address of a Kafka broker."""
    return os.environ.get("MONOPOD_TEST_KAFKA") or missing(
        "MONOPOD_TEST_KAFKA is not set: it names a Kafka broker of version 4.0 or newer, as 127.0.0.1:9092"
    )


def kafka_programs() -> Path:
    """Return the folder of the programs `up PORT` and `down PORT`, which start and end a broker of a test's own."""
    found = os.environ.get("MONOPOD_TEST_KAFKA_PROGRAMS") or missing(
        "MONOPOD_TEST_KAFKA_PROGRAMS is not set: it names a folder of programs. `up PORT` starts a Kafka broker on a port, "
        "with the data that it had there, and prints its address; `down PORT` ends it, and deletes its data"
    )
    return Path(found).resolve()
