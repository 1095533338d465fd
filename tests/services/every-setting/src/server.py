"""Tensors in, tensors out: the model alone answers."""
