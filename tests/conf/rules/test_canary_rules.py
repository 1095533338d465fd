"""Each rule about canaries, broken by a real value.py: no room to take over, callers beside the gateway, taken names."""

from pathlib import Path

import pytest

from conf.rules.check import check
from conf.rules.other_services import other_services
from tests.conf.check_service import CheckService
from tests.conf.golden import regions

CANARY = "canary = [5, 25, 50]\n"


def test_a_canary_that_has_no_room_to_take_over_is_a_mistake(check_service: CheckService) -> None:
    lines = "hk_replicas = 60\nhk_cpu = 0.1\n"
    assert check_service(lines).mistakes == []
    (mistake,) = check_service(lines + CANARY).mistakes
    assert mistake.startswith("value.py:7: when a canary of 60 pods")
    assert "121 of pods, while 100 are" in mistake
    assert check_service(lines + CANARY + "hk_canary = []\n").mistakes == []


@pytest.mark.parametrize(("replicas", "fits"), [(49, True), (50, False)])
def test_both_arms_and_one_pod_more_in_the_take_over_are_counted(
    check_service: CheckService, replicas: int, fits: bool
) -> None:
    found = check_service(f"hk_replicas = {replicas}\nhk_cpu = 0.1\nhk_canary = [50]\n").mistakes
    assert (found == []) is fits, found


def test_a_canary_that_has_no_room_beside_all_pods_of_the_autoscaler_is_a_note(check_service: CheckService) -> None:
    report = check_service("hk_cpu = 0.1\nhk_max_replicas = 60\n" + CANARY)
    assert report.mistakes == []
    assert any("when a canary of 60 pods takes over" in line for line in report.warnings)


def test_callers_that_the_shares_do_not_reach_are_a_note(check_service: CheckService) -> None:
    lines = "use_srv = True\nhost_port = 20001\neu_use_srv = False\n"
    beside = "reach the old pods alone"
    assert [line for line in check_service(lines).warnings if beside in line] == []
    report = check_service(lines + CANARY)
    assert report.mistakes == []
    port, mesh = (line for line in report.warnings if beside in line)
    assert port.startswith(f"value.py:8: requests to host_port 20001 {beside}")
    assert mesh.startswith("value.py:8: requests of pods that call")


def told(folder: Path, own: str) -> tuple[list[str], list[str]]:
    """Return the mistakes and the warnings about names of arms."""
    others, _ = other_services(folder, folder / own, regions())
    report = check(folder / own, regions(), others=others)
    mistakes, warnings = ([each for each in of if "pods of a canary" in each] for of in (report.mistakes, report.warnings))
    return mistakes, warnings


@pytest.mark.parametrize(
    ("user", "lines", "is_mistake"), [("like", CANARY, True), ("like", "", False), ("dev", CANARY, None)],
    ids=["with canaries", "without", "another user's, who has another namespace"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["-canary", "-baseline"])
def test_a_service_called_as_an_arm_of_another_is_told_to_both(
    tmp_path: Path, suffix: str, user: str, lines: str, is_mistake: bool | None
) -> None:
    for folder, text in {
        "ages": f'service_name = "ages"\nusername = "like"\n{lines}',
        "other": f'service_name = "ages{suffix}"\nusername = "{user}"\n',
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "value.py").write_text(text, encoding="utf-8")
    words = f"value.py:1: like/ages{suffix} has the name that pods of a canary of ages would have ({{}}), so that such a canary"
    for folder, other in (("ages", "other"), ("other", "ages")):
        mistakes, warnings = told(tmp_path, folder)
        assert [line.startswith(words.format(other)) for line in mistakes] == [True] * (is_mistake is True)
        assert [line.startswith(words.format(other)) for line in warnings] == [True] * (is_mistake is False)
