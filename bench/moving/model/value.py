# The program with the model given to the platform.

service_name = "model"
username = "bench"

cpu = 2  # cores a pod asks for
memory = "1Gi"
threads = 2  # one a core
ins_num_per_gpu = 2  # sessions of the model, each on one core

model_path = "model/jpeg.onnx"
max_batch_size = 1  # a convolutional net gains nothing from batches on cores
