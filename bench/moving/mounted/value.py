# The program as it was: it opens its own session, and this platform knows no model.

service_name = "mounted"
username = "bench"

cpu = 2  # cores a pod asks for
memory = "1Gi"
threads = 2  # one a core, since a session may be run by many threads
