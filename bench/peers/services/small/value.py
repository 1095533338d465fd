# A three-layer net of microseconds, tensors in and out, so that the platform's own cost is seen.

service_name = "small"
username = "bench"

cpu = 2  # cores a pod asks for
memory = "1Gi"
ins_num_per_gpu = 1  # sessions; one is never the bottleneck here

model_path = "model/small.onnx"
max_batch_size = 128  # rows
queue_limit = 512  # rows; more than the connections that are measured
