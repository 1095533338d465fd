# A model of microseconds, so that the benchmark sees the platform's own cost: handwritten digits, tensors in and out.

service_name = "digits"
username = "bench"

cpu = 2  # cores a pod asks for
memory = "1Gi"
ins_num_per_gpu = 1  # sessions; one is never the bottleneck here

model_path = "model/digits.onnx"
max_batch_size = 32  # rows
