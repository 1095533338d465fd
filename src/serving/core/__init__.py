"""The stages of a request: bytes in, an answer's bytes out.

In: a RawRequest from the front. Out: a Reply or a ServingError, given to a callback. Knows no HTTP and no sockets.
"""
