"""Frames of videos, decoded by processes of their own that can be limited, confined and ended.

In: a video's bytes and the frames that are wanted. Out: the frames as arrays, in order. `frames` is the server's side,
`supervisor` starts a confined process for each video, and `decoder` runs in it.
"""
