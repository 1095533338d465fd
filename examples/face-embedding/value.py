# A photo in, one vector for each face out. Three small models find the faces, the fourth tells them apart.
service_name = "face-embedding"
username = "like"

cpu = 2  # cores; each of the four models gets as many threads
memory = "2Gi"  # of a pod, with room to decode two large photos while eight are in work
gpu_memory = 0  # GiB of one GPU; 0 = no GPU

replicas = 1  # where a region says nothing else
ab_replicas = 1

init_delay_second = 30  # time the models may take to load
queue_limit = 64  # photos that may wait; the models' own queues follow from what one photo may hold
max_image_pixels = 24_000_000  # a photo of 6000 x 4000

# Results are kept by the photo's content. "redis" shares them among pods; env_secret then names the Secret with REDIS_URL.
cache = "local"
cache_second = 604_800  # 7 days
