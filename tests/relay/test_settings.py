"""The relay's settings, and the words for those that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay.__main__ import WrongSetting, settings
from tests.running import ROOT


def test_without_settings_it_sends_to_a_robot_over_https_alone() -> None:
    found, port = settings({})
    assert port == 8080
    assert list(found.receivers) == ["robot"]
    assert found.receivers["robot"].file == Path("/etc/relay/robot")
    assert found.receivers["robot"].plain_hosts == ()


def test_receivers_and_plain_hosts_are_listed_with_commas() -> None:
    found, _ = settings({"RELAY_RECEIVERS": "robot, webhook, watchdog", "RELAY_PLAIN_HOSTS": "a:1,b:2"})
    receivers = [(name, receiver.robot) for name, receiver in found.receivers.items()]
    assert receivers == [("robot", True), ("webhook", False), ("watchdog", False)]
    assert found.receivers["webhook"].plain_hosts == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RELAY_PORT", "0"), ("RELAY_PORT", "65536"), ("RELAY_PORT", "tcp://10.0.0.1:8080"), ("RELAY_PORT", "²"),
        ("RELAY_RECEIVERS", "mail"), ("RELAY_RECEIVERS", " ,"), ("RELAY_TIMEOUT", "0"), ("RELAY_TIMEOUT", "nan"),
        ("RELAY_TIMEOUT", "61"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(WrongSetting, match=name):
        settings({name: text})


def test_it_ends_with_a_sentence_where_a_setting_cannot_be_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relay"], cwd=ROOT, env={**os.environ, "RELAY_RECEIVERS": "mail"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("RELAY_RECEIVERS is 'mail': ")
    assert done.stderr.count("\n") == 1


def test_of_the_platforms_other_code_it_imports_what_its_image_holds() -> None:
    code = "import relay.__main__, sys; print(*sorted(name for name in sys.modules if name.startswith(('conf', 'serving'))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"configparser"} == {"conf", "conf.remote", "conf.remote.wechat_robot"}
