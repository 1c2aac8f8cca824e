"""Archives and tables that tests make, long unchanged."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow
from pyarrow import parquet

from tests.helpers.pictures import backdate

Content = Mapping[str, bytes] | Iterable[tuple[str, bytes]]
"""Names of members and their bytes; pairs, where a name comes twice."""


def _pairs(content: Content) -> Iterable[tuple[str, bytes]]:
    return content.items() if isinstance(content, Mapping) else content


def make_zip(path: Path, content: Content, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip archive."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in _pairs(content):
            archive.writestr(name, data)
    return backdate(path)


def zip_folder(folder: Path, path: Path) -> Path:
    """Write a zip archive of all the files below a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return make_zip(
        path, [(file.relative_to(folder).as_posix(), file.read_bytes()) for file in files]
    )


def make_tar(
    path: Path, content: Content, kind: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w"
) -> Path:
    """Write a tar archive."""
    with tarfile.open(path, kind) as archive:
        for name, data in _pairs(content):
            add_file(archive, name, data)
    return backdate(path)


def add_file(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member to a tar archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def make_table(
    path: Path,
    pictures: Sequence[bytes | None],
    labels: Sequence[int | str | None] | None = None,
    *,
    classes: Sequence[str] = (),
    paths: Sequence[str | None] | None = None,
    rows_per_group: int = 3,
) -> Path:
    """Write a Parquet table as ``datasets`` does: pictures as structs, classes in the schema."""
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    cells = [
        {"bytes": data, "path": name}
        for data, name in zip(pictures, paths or [None] * len(pictures), strict=True)
    ]
    columns: dict[str, Any] = {"image": pyarrow.array(cells, kind)}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pyarrow.array(labels)
        features["label"] = (
            {"names": list(classes), "_type": "ClassLabel"}
            if classes
            else {"dtype": "string", "_type": "Value"}
        )
    table = pyarrow.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    parquet.write_table(table, path, row_group_size=rows_per_group)
    return backdate(path)
