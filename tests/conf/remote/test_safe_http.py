"""Plain HTTP is used only for this machine and for hosts that are named."""

import pytest

from conf.remote.safe_http import NoAnswer, must_be_safe, speaks_http


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1", "127.3.2.1:80", "registry.lan:5000"])
def test_this_machine_and_named_hosts_are_asked_over_plain_http(host: str) -> None:
    assert speaks_http(host, ["registry.lan:5000"])
    must_be_safe(f"http://{host}/token", ["registry.lan:5000"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1.example.com", "127.example.com:80", "localhost.example.com", "127.0.0.1:1@a.lan:80", "registry.lan"]
)
def test_a_name_that_only_begins_as_this_machines_address_needs_https(host: str) -> None:
    assert not speaks_http(host, ["registry.lan:5000"])
    with pytest.raises(NoAnswer, match="which is not HTTPS"):
        must_be_safe(f"http://{host}/token", ["registry.lan:5000"])
