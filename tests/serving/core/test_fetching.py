"""A fetcher is there only where a service names hosts."""

import subprocess
import sys

import pytest

from serving.base.errors import BadInput
from serving.core.fetching import fetcher_of
from serving.inputs.fetch import Fetcher
from serving.settings import Settings
from tests.running import PYTHONPATH

LOADED = "import sys, serving.main; print(sorted({'flask', 'requests', 'urllib3'} & set(sys.modules)))"


def test_the_server_starts_without_the_libraries_of_fetches() -> None:
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("['flask']", 0), done.stderr


def test_a_service_that_names_no_hosts_refuses_every_url() -> None:
    fetcher = fetcher_of(Settings(service_name="small", username="like"))
    with pytest.raises(BadInput, match="its setting fetch_hosts is empty"):
        fetcher.fetch("http://img.example.com/", 1.0)


def test_a_service_that_names_hosts_fetches() -> None:
    assert isinstance(fetcher_of(Settings(service_name="small", username="like", fetch_hosts=("img.example.com",))), Fetcher)
