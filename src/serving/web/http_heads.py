"""Heads of HTTP/1.1 messages: the one that the front writes by itself, and the deadline that a client's names.

Knows bytes and header names. Does not know sockets.
"""

PHRASES = {200: "OK", 400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large", 429: "Too Many Requests"}
PHRASES |= {431: "Request Header Fields Too Large", 503: "Service Unavailable", 504: "Gateway Timeout"}


def head(status: int, length: int, headers: str) -> bytes:
    """Return the head of an answer in JSON. headers: whole lines, each ended by CR LF."""
    line = f"HTTP/1.1 {status} {PHRASES.get(status, 'Error')}"
    return f"{line}\r\n{headers}Content-Length: {length}\r\nContent-Type: application/json\r\n\r\n".encode("latin-1")


def allowed_seconds(headers: dict[str, str], most: float) -> float:
    """Return the seconds that the client, or Envoy on its behalf, allows; never more than the service's own."""
    for name in ("X_REQUEST_TIMEOUT_MS", "X_ENVOY_EXPECTED_RQ_TIMEOUT_MS"):
        text = headers.get(name, "")
        if text.isascii() and text.isdigit() and 0 < int(text[:12]) / 1000 < most:
            most = int(text[:12]) / 1000
    return most
