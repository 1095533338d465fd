"""A track that sleeps has no pods and no alerts. Its other objects, its history and its name stay.

In: a target whose release is good. Out: the release as the history keeps it, with the time since when it sleeps. Nothing of
conf.rollout uses this folder.
"""
