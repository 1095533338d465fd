"""The fixture that rules are tested with."""

from pathlib import Path

import pytest

from tests.conf.check_service import CheckService, service_checker


@pytest.fixture
def check_service(tmp_path: Path) -> CheckService:
    return service_checker(tmp_path)
