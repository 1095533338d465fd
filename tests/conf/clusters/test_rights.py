"""The one list of rights: as rules of a Role, as the manual prints it, and without any that a release could do harm with."""

from conf.base.object_references import KINDS, NOT_APPLIED
from conf.clusters.rights import DEPLOY, READ, RECORD_VERBS, Right, query_rights, rules
from conf.rollout.preflight import LISTED_KINDS
from tests.conf import accounts

CHANGING = {"create", "update", "patch", "delete"}


def test_the_manual_prints_the_rights_of_a_deploy_job() -> None:
    assert accounts.of_the_manual() == rules(DEPLOY)


def test_the_manual_prints_the_rights_of_people_and_those_on_prometheus() -> None:
    assert accounts.of_the_manual("monopod-read") == rules(READ)
    assert accounts.of_the_manual("monopod-query") == rules(query_rights("prometheus", "9090"))


def test_neighbours_of_one_group_and_the_same_verbs_are_one_rule() -> None:
    found = rules(
        [Right("Pod", ("get",)), Right("Pod", ("get",), "log"), Right("Deployment", ("get",)), *query_rights("p", "80")]
    )
    assert found == [
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {
            "apiGroups": [""],
            "resources": ["services/proxy"],
            "verbs": ["get"],
            "resourceNames": ["p:80", "http:p:80", "https:p:80"],
        },
    ]


def test_a_deploy_job_may_do_all_that_a_release_does() -> None:
    given = {(each.kind, verb) for each in DEPLOY for verb in each.verbs}
    assert {(kind, "list") for kind in LISTED_KINDS} <= given
    assert {(kind, verb) for kind in ("ConfigMap", "Lease") for verb in RECORD_VERBS} <= given
    assert {(kind, verb) for kind in KINDS if kind not in NOT_APPLIED for verb in ("get", "create", "patch", "delete")} <= given


def test_people_evict_a_pod_at_most_and_nobody_reads_secrets_or_runs_commands_in_pods() -> None:
    assert [each for each in READ if CHANGING & set(each.verbs)] == [Right("Pod", ("create",), "eviction")]
    assert [each for each in (*DEPLOY, *READ) if each.part in ("exec", "attach", "portforward") or each.kind == "Secret"] == []
    assert [each for each in DEPLOY if each.kind == "Pod" and CHANGING & set(each.verbs)] == []
