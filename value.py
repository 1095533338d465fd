# The service as data. This file is read, never run: one setting a line, each a literal.
# `monopod settings` lists them all; hk_, eu_ or na_ before a name sets it for that region alone.

service_name = "demo"
username = "like"

cpu = 2  # cores a pod asks for; the model's threads follow from it
memory = "2Gi"  # a pod; over it the pod is killed
gpu_memory = 0  # GiB of one GPU; 0 = no GPU
ins_num_per_gpu = 2  # sessions of the model, each on one core, so that two pictures run at once

replicas = 1  # where a region says nothing else
hk_replicas = 2
ab_replicas = 1

init_delay_second = 30  # time the model may take to load
model_path = "model/efficientnet-lite0.onnx"
max_batch_size = 1  # a convolutional net gains nothing from batches on cores; on a GPU it does
