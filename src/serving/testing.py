"""Names for the tests of a service, beside those of serving.api: services without a server, requests, and memory in use."""

from serving.base.process import peak_bytes, resident_bytes
from serving.service.loader import open_service, set_up, silence
from serving.service.request import make_request
from serving.settings.model_files import read_checksums

__all__ = ["make_request", "open_service", "peak_bytes", "read_checksums", "resident_bytes", "set_up", "silence"]
