"""What a server takes, for how long, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

    @property
    def most_held_bytes(self) -> int:
        """Bytes of all requests that are being read or answered: bounds the memory."""
        return max(8 * self.max_bytes, 256_000_000)
