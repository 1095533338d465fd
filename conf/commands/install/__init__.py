"""The commands for those who install a cluster: its charts' values, and the kubeconfigs of its accounts.

In: the parsed command line. Out: text on stdout, and an exit status.
"""
