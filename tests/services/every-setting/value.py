# A service that uses every setting: what it renders is under tests/golden/every-setting.

service_name = "every-setting"
username = "test-team"

cpu = 2.5
hk_cpu = 1.5
cpu_limit = 4
memory = "6Gi"
recycle_at_memory = 0.85
memory_request = "5Gi"
shared_memory = "1Gi"
decode_workers = 3
decode_memory = "1Gi"
gpu_memory = 4.5
model_gpu_memory = {"detector": 1, "embedder": 0.75}
ins_num_per_gpu = 2
replicas = 2
na_replicas = 3
ab_replicas = 1.0
grey_sleep_after_day = 14
max_replicas = 6
autoscale_by = "queue"
eu_autoscale_by = "cpu"
autoscale_queue_rows = 24
scale_down_after_second = 450
scale_hours = ["mon-fri 08:30-18:00 5", "sat,sun 10:00-24:00 4"]
eu_scale_hours = []
na_autoscale_by = "cpu"
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

cache = "redis"
na_cache = "local"
cache_second = 3600
cache_memory = "128Mi"

objective_success = 0.995
objective_latency_ms = 800
eu_objective_latency_ms = 1200
objective_latency_share = 0.9
latency_levels = [0.8, 2]
memory_levels = [60, 80]
cpu_levels = [90, 150]

threads = 2
options = {"threshold": 0.5, "mode": "fast", "exact": True}
env_secret = "same-keys"
data_claim = "indexes"

canary = [5, 25, 50]
eu_canary = [10, 50]
canary_step_second = 1800
canary_undecided = "undo"
canary_confidence = 0.995
canary_tolerance = 1.5
canary_margin = 0.01
canary_latency_margins = [0.2, 0.05, 0.02]
canary_metrics = {"faces_missed_total": 0.02}

gpu_num = 1
bmls_ret_type = "json"
use_decode_sidecar = 0

offline_source = "kafka:like-videos"
offline_sinks = ["kafka:like-ages", "postgresql:ages"]
offline_group = "every-setting"
offline_start = "2026-11-22T08:00:00Z"
offline_protocol = "classic"
offline_replicas = 2
eu_offline_replicas = 1
offline_max_replicas = 4
offline_partitions = 6
offline_lag_per_replica = 2000
offline_secret = "like-offline"
offline_window = 1000
offline_rate = 200
offline_timeout_second = 90
offline_revoke_second = 15
offline_max_record = "2Mi"
offline_key = ["postid"]
offline_retries = 3
offline_retry_second = 1
offline_retry_factor = 1.5
offline_retry_cap_second = 20
offline_retry_jitter = 0.25
