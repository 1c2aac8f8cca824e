"""Run the speed benchmarks, print one table, and write all figures to results.json.

    make bench      or      .venv/bin/python -m benchmarks.crops.run [--pictures 600] [--rounds 3]

Finding faces is measured apart, on your own pictures: detection.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"


def run(name: str, *options: str) -> Any:
    """Run one benchmark as a command of its own, and return its figures."""
    print(f"{name} …", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "figures.json"
        module = f"benchmarks.crops.{name}"
        command = [sys.executable, "-m", module, *options, "--json", str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(target.read_text())


def speed_rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the table: what, PNG, JPEG."""
    png, jpg = (results["speed"]["formats"][kind] for kind in ("png", "jpg"))
    rows = [
        (what, f"{png[key]:.0f}", f"{jpg[key]:.0f}")
        for what, key in (
            ("decoding alone, pictures/s", "decode_per_second"),
            ("decoding alone, allocator set as ours, pictures/s", "decode_tuned_per_second"),
            ("roi-cls, empty cache, pictures/s", "cold_per_second"),
            ("plain loop, one process, pictures/s", "plain_per_second"),
            ("autocrop's command, once per picture, pictures/s", "autocrop_per_second"),
        )
        if key in png
    ]
    return rows + [
        (what, f"{png[key]:.2f}", f"{jpg[key]:.2f}")
        for what, key in (
            ("roi-cls : decoding alone", "cold_to_decode"),
            ("roi-cls : decoding alone, allocator set", "cold_to_decode_tuned"),
            ("roi-cls : plain loop", "cold_to_plain"),
        )
    ]


def render(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    speed, warm = results["speed"], results["warm"]
    lines = [
        f"{speed['machine']}; {speed['pictures']} drawn portraits of 1024 px, "
        f"{speed['workers']} processes",
        "",
        "| | PNG | JPEG |",
        "|---|---:|---:|",
        *(f"| {what} | {png} | {jpg} |" for what, png, jpg in speed_rows(results)),
        "",
        f"{warm['pictures']} unchanged pictures: {warm['known_per_second']:.0f}/s, in "
        f"{warm['memory_mb']:.0f} MB beyond the interpreter's",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, print the table, write the figures."""
    parser = argparse.ArgumentParser(description="Run all benchmarks of the crop stage.")
    parser.add_argument("--pictures", type=int, default=600, help="portraits of each format")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--known", type=int, default=100_000, help="pictures of the warm run")
    options = parser.parse_args()
    results = {
        "speed": run("speed", "--pictures", str(options.pictures), "--rounds", str(options.rounds)),
        "warm": run("warm", "--pictures", str(options.known)),
        "formats": run("formats"),
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(render(results))


if __name__ == "__main__":
    main()
