"""GitLab's variables, as the environment of a job shows them.

Knows which variables GitLab gives a job, and which it keeps from it. Does not know what a job runs.
(https://docs.gitlab.com/ci/variables/predefined_variables/, https://docs.gitlab.com/ci/variables/#protect-a-cicd-variable)
"""

from collections.abc import Mapping


def hidden(environ: Mapping[str, str]) -> str:
    """Return why a job with an environment has no use of its KUBECONFIG, and the cure; "" where this cannot be said."""
    environment, kubeconfig = environ.get("CI_ENVIRONMENT_NAME", ""), environ.get("KUBECONFIG", "")
    if not environment:
        return ""
    if "\n" in kubeconfig:
        return "the variable KUBECONFIG holds the text itself, and not a file's name: make its type File"
    if kubeconfig:
        return ""
    scope = environment.partition("/")[0] + "/*"
    words = f"this job sees no KUBECONFIG: make it a variable of type File, whose environment scope is {scope}"
    if environ.get("CI_COMMIT_REF_PROTECTED") == "false":
        branch = environ.get("CI_COMMIT_REF_NAME", "its branch")
        words += f"; one that is protected is kept from this job, since {branch} is no protected branch: protect it"
    return words
