"""How a file is handed to a browser.

Called by: routes that send files. Must not: let a file name end a header.
"""

from __future__ import annotations

from urllib.parse import quote


def disposition(file_name: str) -> str:
    """``Content-Disposition`` that makes the browser save, with any name (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
