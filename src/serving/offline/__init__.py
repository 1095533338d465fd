"""`monopod offline`: records of a topic or of files through the service's model to sinks, at least once.

Comes in: records. Goes out: answers to sinks, dead letters, and committed offsets. The core that answers requests
online answers records here.
"""
