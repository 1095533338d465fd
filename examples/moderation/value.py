# The service as data. This file is read, never run: one setting a line, each a literal.
# `monopod settings` lists them all; hk_, eu_ or na_ before a name sets it for that region alone.

service_name = "moderation"
username = "like"

cpu = 2  # cores a pod asks for; the model's threads follow from it
# 0.15 GiB at rest, 0.4 with two videos and pictures. At the very worst: 0.9 for two pictures of max_image_pixels (one a core);
# 1 for two videos (options: decode_mib, and the file twice); 0.5 for requests, of which 256 MiB are held at once, and a form's
# parts beside its bytes.
memory = "4Gi"
gpu_memory = 0  # GiB of one GPU; 0 = no GPU
ins_num_per_gpu = 2  # sessions of the model, one core each

replicas = 1  # where a region says nothing else
hk_replicas = 2

init_delay_second = 30  # time the model may take to load
model_path = "model/open-nsfw.onnx"
max_batch_size = 4  # a convolutional net gains little from batches on cores, and a picture waits behind a batch of frames
max_rows_per_request = 4  # frames of a video that are asked about at once; a video has two such parts in the queue
queue_limit = 24  # rows: two videos' 16, and room for pictures beside them

timeout_second = 120  # a video may take long
stuck_after_second = 120
upload_timeout_second = 60
max_body = "64Mi"  # a minute of 1080p, ten of 360p
max_image_pixels = 25_000_000

options = {
    "frame_from": 0.8,  # from this score on a picture is nsfw, and a frame of a video
    "video_share": 0.1,  # a video is nsfw when this share of its frames is
    "sure_from": 0.95,  # or when one frame has this score
    "most_videos": 2,  # decoded at once; one more is refused with 429
    "most_pixels": 2_088_960,  # of a video's frame: 1920 x 1088
    "most_seconds": 600,
    "most_frames": 36_000,  # ten minutes at 60 a second
    "decode_seconds": 30,  # of one core, for one video; well below timeout_second, since the model computes on the same cores
    "decode_mib": 384,  # of memory, for one video
}
