# A service on a share of a GPU, scaled by cpu.

service_name = "gpu"
username = "test-team"

cpu = 2
memory = "4Gi"
gpu_memory = 6  # GiB of one GPU
replicas = 1
hk_replicas = 2
max_replicas = 4
na_max_replicas = 0
tolerations = ["nvidia.com/gpu:NoSchedule"]

init_delay_second = 60
model_path = "model/same.onnx"
