# A service that uses every setting: what it renders is under tests/golden/every-setting.

service_name = "every-setting"
username = "test-team"

cpu = 2.5
hk_cpu = 1.5
cpu_limit = 4
memory = "6Gi"
gpu_memory = 4.5
model_gpu_memory = {"detector": 1, "embedder": 0.75}
ins_num_per_gpu = 2
replicas = 2
na_replicas = 3
ab_replicas = 1.0
max_replicas = 6
autoscale_by = "queue"
eu_autoscale_by = "cpu"
autoscale_queue_rows = 24
node_labels = {"pool": "gpu"}
tolerations = ["dedicated=ml:NoSchedule", "nvidia.com/gpu"]
use_srv = True
host_port = 20080
eu_use_srv = False

model_path = "model/same.onnx"
provider = "tensorrt"
fp16 = True
max_batch_size = 16
max_queue_delay_ms = 2.5
warmup_shapes = {"x": [4]}
model_memory = "2Gi"
on_demand_gpu_memory = 1.25
init_delay_second = 120
stuck_after_second = 90

timeout_second = 45.5
upload_timeout_second = 20
queue_limit = 128
max_rows_per_request = 32
max_body = "8Mi"
max_image_pixels = 20_000_000
fetch_hosts = ["img.example.com", "*.cdn.example.com"]
fetch_timeout_second = 3
drain_delay_second = 7.5

options = {"threshold": 0.5, "mode": "fast", "exact": True}
env_secret = "same-keys"
data_claim = "indexes"

gpu_num = 1
bmls_ret_type = "json"
use_decode_sidecar = 0
