"""A release that is judged in steps: a share of the requests goes to pods of its own, beside as many of the old version.

It is the roll-out of conf.rollout with steps between. Nothing of conf.rollout uses this folder.
"""
