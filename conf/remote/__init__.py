"""All that is asked over the network: API servers, registries of images, webhooks.

In: a question. Out: its answer, or an error with the cure. Each module is the only one that knows its kind of server.
"""
