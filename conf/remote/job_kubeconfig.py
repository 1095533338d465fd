"""The reason why a GitLab job has no kubeconfig, from the variables that GitLab sets.

Knows how variables of a project reach its jobs. Asks nobody, and does not know clusters.
"""

from collections.abc import Mapping


def missing_kubeconfig(environ: Mapping[str, str]) -> str:
    """Return why a GitLab job has no usable KUBECONFIG, and the cure; "" outside such a job or where a file is named.

    Sources: https://docs.gitlab.com/ci/variables/predefined_variables/ and
    https://docs.gitlab.com/ci/variables/#protect-a-cicd-variable.
    """
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
