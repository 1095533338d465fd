"""Reading a topic as a member of a group, on a thread of its own.

Comes in: a plan, and what became of each record. Goes out: records, at least once, and commits.
"""
