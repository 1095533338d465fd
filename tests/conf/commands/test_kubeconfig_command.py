"""`monopod kubeconfig`: whose accounts there are, and how long a token holds. tests/charts shows it on a real cluster."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import monopod
from conf.base.object_references import Ref
from conf.commands.kubeconfig_command import lifetime
from conf.remote.cluster import Cluster, ClusterError, NoRights, Refused, Unreachable, access, kubeconfig
from tests.running import ROOT

GOLDEN = ["--regions", str(ROOT / "tests/golden/regions.yaml")]
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
Captured = pytest.CaptureFixture[str]


def cluster(error: ClusterError | None = None, **configuration: Any) -> Cluster:
    """Return a cluster that gives a token or refuses, and the configuration of whose client is known."""

    def token(account: Ref, seconds: int) -> dict[str, str]:
        if error:
            raise error
        return {"token": f"{account.name}-{seconds}", "expirationTimestamp": "2026-05-01T13:00:00Z"}

    how = {"host": "https://10.0.0.1:6443", "verify_ssl": True, "ssl_ca_cert": None, "tls_server_name": None, "proxy": None}
    how |= configuration
    return cast(Cluster, SimpleNamespace(context="hk", token=token, configuration=SimpleNamespace(**how)))


ACCOUNT = Ref("ServiceAccount", "monopod", "deploy")


def test_the_file_has_the_clusters_context_address_and_authority_and_the_token(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("authority")
    found = access(cluster(ssl_ca_cert=str(tmp_path / "ca"), tls_server_name="hk.example.com"), ACCOUNT, 3600)
    assert found.expires == datetime(2026, 5, 1, 13, 0, tzinfo=UTC)
    (server,) = found.kubeconfig["clusters"]
    assert server["cluster"] == {
        "server": "https://10.0.0.1:6443",
        "certificate-authority-data": "YXV0aG9yaXR5",
        "tls-server-name": "hk.example.com",
    }
    assert found.kubeconfig["users"] == [{"name": "deploy", "user": {"token": "deploy-3600"}}]
    assert found.kubeconfig["current-context"] == "hk"


def test_the_proxy_of_the_kubeconfig_is_kept_and_that_of_this_machine_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://here:3128")
    for proxy, kept in (("socks5://jump:1080", {"proxy-url": "socks5://jump:1080"}), ("http://here:3128", {}), (None, {})):
        (server,) = kubeconfig(cluster(proxy=proxy), "deploy", "token")["clusters"]
        assert server["cluster"] == {"server": "https://10.0.0.1:6443", **kept}


@pytest.mark.parametrize("how", [{"verify_ssl": False}, {"host": "http://10.0.0.1:8080"}])
def test_no_token_is_printed_for_a_server_that_nobody_verifies(how: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match="does not verify the API server"):
        kubeconfig(cluster(**how), "deploy", "token")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (Refused("not found", 404), ClusterError, "has no ServiceAccount monopod/deploy"),
        (NoRights("cluster hk refuses", 403), NoRights, "right to create serviceaccounts/token"),
        (Unreachable("cluster hk does not answer"), Unreachable, "does not answer"),
    ],
)
def test_why_there_is_no_token_is_told(error: ClusterError, kind: type[ClusterError], words: str) -> None:
    with pytest.raises(kind, match=words):
        access(cluster(error), ACCOUNT, 3600)


def test_the_lifetime_is_told_and_that_the_api_server_shortened_it() -> None:
    month = timedelta(hours=720)
    assert "deploy holds until 2026-05-31 12:00 UTC" in lifetime("hk", "deploy", month, NOW + month, NOW)
    assert "limit" not in lifetime("hk", "deploy", month, NOW + month - timedelta(seconds=2), NOW)
    shortened = lifetime("hk", "deploy", month, NOW + timedelta(days=1), NOW)
    assert "The API server grants 24 h" in shortened


def test_a_track_that_runs_elsewhere_has_no_account_here(capsys: Captured) -> None:
    assert monopod.main(["kubeconfig", "--region", "hk", "--for", "grey", *GOLDEN]) == 1
    assert "give --region na" in capsys.readouterr().err


def test_without_users_no_job_deploys(capsys: Captured, tmp_path: Path) -> None:
    text = (ROOT / "tests/golden/regions.yaml").read_text()
    begin, _, rest = text.partition("users:\n")
    (tmp_path / "regions.yaml").write_text(begin + rest.partition("use_srv: true}\n")[2])
    assert monopod.main(["kubeconfig", "--region", "hk", "--for", "deploy", "--regions", str(tmp_path / "regions.yaml")]) == 1
    assert "users is missing" in capsys.readouterr().err


def test_an_unknown_account_is_refused_with_those_there_are(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        monopod.main(["kubeconfig", "--region", "hk", "--for", "admin"])
    assert "choose from 'deploy', 'grey', 'ab', 'people'" in capsys.readouterr().err
