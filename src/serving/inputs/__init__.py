"""Bytes of requests to arrays, and arrays back to the bytes of answers.

In: bodies as JSON, forms, pictures, URLs, or in the Open Inference Protocol. Out: arrays that fit a model, or an error that
names the field.
"""
