"""`monopod optimize`: make FP16 and INT8 copies of a service's model, and measure their accuracy and latency."""
