"""What each command of the deploy half does and prints; one module a verb.

In: the arguments that monopod.py has parsed. Out: text or JSON, and an exit status.
"""
