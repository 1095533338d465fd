"""A job without a kubeconfig is told why, and what to change in GitLab."""

import pytest

from conf.remote.cluster import BadCredentials, Cluster
from conf.remote.job_kubeconfig import missing_kubeconfig

JOB = {"CI_ENVIRONMENT_NAME": "hk/cats", "CI_COMMIT_REF_NAME": "cats", "CI_COMMIT_REF_PROTECTED": "false"}


def test_a_job_without_a_kubeconfig_names_the_scope_that_the_variable_needs() -> None:
    words = missing_kubeconfig({**JOB, "CI_COMMIT_REF_PROTECTED": "true"})
    assert words == "this job sees no KUBECONFIG: make it a variable of type File, whose environment scope is hk/*"


def test_a_job_of_an_unprotected_branch_says_that_it_sees_no_protected_variable() -> None:
    assert missing_kubeconfig(JOB).endswith("since cats is no protected branch: protect it")


def test_a_kubeconfig_that_is_a_text_and_not_a_file_is_told_without_its_text() -> None:
    words = missing_kubeconfig({**JOB, "KUBECONFIG": "apiVersion: v1\nusers: [secret]\n"})
    assert "make its type File" in words
    assert "secret" not in words


@pytest.mark.parametrize("environ", [{}, {**JOB, "KUBECONFIG": "/builds/like/cats.tmp/KUBECONFIG"}])
def test_nothing_is_said_on_a_laptop_or_where_a_file_is_named(environ: dict[str, str]) -> None:
    assert missing_kubeconfig(environ) == ""


def test_a_cluster_that_a_job_has_no_kubeconfig_for_ends_in_the_jobs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**JOB, "KUBECONFIG": "", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadCredentials, match=r"context 'hk' cannot be used: .*; this job sees no KUBECONFIG"):
        Cluster("hk")
