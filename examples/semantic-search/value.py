# Questions in; the sentences of a corpus that mean the same out. This file is read, never run: one setting a line.

service_name = "semantic-search"
username = "like"

cpu = 2  # cores a pod asks for
memory = "1Gi"  # a pod; over it the pod is killed. Both sessions at their largest batches take 470 MiB, and bodies more.
gpu_memory = 0  # GiB of one GPU; 0 = no GPU, since the model's int8 products run on cores
ins_num_per_gpu = 2  # sessions of the model, one core each

replicas = 1  # where a region says nothing else

init_delay_second = 30  # time to load the model and to embed the corpus, some hundreds of sentences a second
model_path = "model/minilm.onnx"  # made by model/Makefile
max_batch_size = 8  # on one core 8 short sentences take 6 times as long as one, so larger batches only add waiting
warmup_shapes = {"input_ids": (256,), "attention_mask": (256,), "token_type_ids": (256,)}  # tokens: the longest row

timeout_second = 10
queue_limit = 128  # rows that may wait
max_rows_per_request = 64  # questions of one request
max_body = "512Ki"  # 64 questions of 8 KiB

options = {
    "corpus": "model/corpus.txt",  # a path in this folder, or an absolute one such as /data/corpus.txt with data_claim
    "most_sentences": 50_000,  # of the corpus; every question is compared with each
}
