"""Values as JSON that people can read. Every stage may use it."""

from __future__ import annotations

import json


def to_json(value: object, indent: int | None = None) -> str:
    """Return JSON with its letters as they are, or escaped where they are no text.

    A file name that is not UTF-8 would make the whole text none.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text
