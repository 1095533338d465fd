"""Kafka: the one folder that knows its client.

Comes in: settings and the environment. Goes out: records of a group's partitions, commits, and acknowledged messages.
"""
