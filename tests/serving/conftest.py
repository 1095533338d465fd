"""Services whose work a test can hold, one for each module that asks for it."""

from collections.abc import Iterator

import pytest

from tests.serving.held_service import HANDLE, HOOK, Held, held_service


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with held_service(tmp_path_factory, HOOK) as made:
        yield made


@pytest.fixture(scope="module")
def handles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with held_service(tmp_path_factory, HANDLE) as made:
        yield made
