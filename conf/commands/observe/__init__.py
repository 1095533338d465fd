"""The verbs that show a service as it runs: on a terminal, for a program, and as a page.

In: a parsed command line. Out: printed lines, and an exit status. A verb's module does not know how its figures were asked for.
"""
