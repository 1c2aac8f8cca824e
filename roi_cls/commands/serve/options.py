"""What a server takes, for how long, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits of a server, and where it writes."""

    batch_size: int = 16
    """Pictures scored at once, of one request or of several."""
    wait_ms: float = 2.0
    """For how long a batch waits to be filled, in milliseconds."""
    max_bytes: int = 32_000_000
    """Of one request, all its pictures together."""
    max_pictures: int = 64
    """In one request."""
    queue: int = 256
    """Pictures that may wait; further requests are told to come again (status 503)."""
    timeout_s: float = 60.0
    """For one request, in seconds: to arrive, and again to be answered."""
    hosts: tuple[str, ...] = ()
    """Names that the server may be called by, beside localhost and addresses in numbers."""
    origins: tuple[str, ...] = ()
    """Pages elsewhere that may use the server, like ``https://faces.example``; ``*``: all."""
    review: Path = Path("artifacts/review.csv")
    """Where corrected verdicts are added."""
    keep: Path | None = None
    """Folder in which pictures are kept; None: none is."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_bytes", "max_pictures", "queue"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.wait_ms < 0:
            raise ValueError(f"wait_ms must not be negative, got {self.wait_ms}")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be above 0, got {self.timeout_s}")

        object.__setattr__(self, "origins", tuple(map(parse_origin, self.origins)))

    @property
    def most_held_bytes(self) -> int:
        """Bytes of all requests that are being read or answered: bounds the memory."""
        return max(8 * self.max_bytes, 256_000_000)


def parse_origin(text: str) -> str:
    """Return an origin as browsers write it; ``*`` and ``null``, a file's, as they are.

    Raises:
        ValueError: It is none.
    """
    if text in ("*", "null"):
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is no number, brackets that hold no address
        parts, port = urlsplit(""), None
    rest = (parts.path.rstrip("/"), parts.query, parts.fragment, parts.username)
    if not parts.scheme or not parts.hostname or any(rest):
        raise ValueError(f"{text!r} is no origin; write it like https://faces.example")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_usual = port is None or port == {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}{'' if is_usual else f':{port}'}"
