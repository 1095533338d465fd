"""What the tests of a service import beside serving.api: requests and services without a server, and what a process holds.

Knows no more than where each name stands.
"""

from serving.base.process_memory import peak_bytes, resident_bytes
from serving.service.embedded import open_service, set_up, silence
from serving.service.request import make_request
from serving.settings.model_files import read_checksums

__all__ = ["make_request", "open_service", "peak_bytes", "read_checksums", "resident_bytes", "set_up", "silence"]
