"""An API server's warnings are shown by commands that apply and by commands that only read. Simulated nodes are enough."""

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.service_state import until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
GROUP = "admissionregistration.k8s.io/v1"
WORDS = "Deployments of this team are looked at on Mondays"


def test_a_warning_of_the_api_server_is_shown_once_by_diff_deploy_and_rollback(
    make_checkout: MakeCheckout, eu: Cluster
) -> None:
    mine = make_checkout("eu")
    mine.run("deploy", tag="1")
    name = f"{mine.user}-warns"
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": mine.user}}}
    rules = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "false", "message": WORDS}]}
    bound = {"policyName": name, "validationActions": ["Warn"], "matchResources": where}
    head = {"apiVersion": GROUP, "metadata": {"name": name}}
    policies, bindings = f"/apis/{GROUP}/validatingadmissionpolicies", f"/apis/{GROUP}/validatingadmissionpolicybindings"
    with (
        eu.having(policies, {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec}),
        eu.having(bindings, {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound}),
    ):
        until(lambda: WORDS in mine.run("diff", tag="2", status=3).err)  # policies come into force a moment later
        assert mine.run("diff", tag="2", status=3).err.count(WORDS) == 1
        for command, tag in (("deploy", "2"), ("rollback", "")):
            lines = [line for line in mine.run(command, tag=tag).out.splitlines() if WORDS in line]
            assert len(lines) == 1
            assert lines[0].startswith("eu: warning of the API server: ")
    mine.run("stop", "--yes")
