"""Encodes forms as clients do (RFC 7578)."""

BOUNDARY = "a-boundary-that-is-in-no-part"


def multipart(parts: list[tuple[str, bytes, bool]]) -> bytes:
    """Return a form's body. parts: name, content, and whether it is a file, whose file name is then the part's name."""
    body = b""
    for name, content, is_file in parts:
        filename = f'; filename="{name}"' if is_file else ""
        head = f'Content-Disposition: form-data; name="{name}"{filename}'
        body += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()
