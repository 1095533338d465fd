"""The verbs of a track that sleeps: `monopod sleep` and `monopod wake`.

In: a parsed command line. Out: a line for each region, and an exit status.
"""
