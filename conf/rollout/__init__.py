"""One track of a service in one region: released, watched, undone, rolled back, stopped.

In: rendered objects and a target. Out: a history in the cluster and a report. Only conf.remote.cluster talks to Kubernetes.
"""
