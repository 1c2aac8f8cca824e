"""Run the speed benchmarks, print one table, and write all figures to results.json.

    make bench      or      .venv/bin/python -m benchmarks.crops.run [--pictures 600] [--rounds 3]
    make bench ARGS="--real FOLDER"     measures cropping on your portraits, too

Finding faces is measured apart, on your own pictures: detection.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Collection
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


def speed_columns(speed: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the figures of each column of the table by its heading."""
    sets = {"": speed, **({" of real portraits": speed["real"]} if "real" in speed else {})}
    return {
        f"{kind}{of}": figures["formats"][key]
        for of, figures in sets.items()
        for kind, key in (("PNG", "png"), ("JPEG", "jpg"))
    }


def speed_rows(columns: Collection[dict[str, float]]) -> list[list[str]]:
    """Return the rows of the table: what, and a figure of each column."""
    rows = [
        [what, *(f"{figures[key]:.0f}" for figures in columns)]
        for what, key in (
            ("decoding alone, pictures/s", "decode_per_second"),
            ("decoding alone, allocator set as ours, pictures/s", "decode_tuned_per_second"),
            ("roi-cls, empty cache, pictures/s", "cold_per_second"),
            ("plain loop, one process, pictures/s", "plain_per_second"),
            ("autocrop's command, once per picture, pictures/s", "autocrop_per_second"),
        )
        if all(key in figures for figures in columns)
    ]
    return rows + [
        [what, *(f"{figures[key]:.2f}" for figures in columns)]
        for what, key in (
            ("roi-cls : decoding alone", "cold_to_decode"),
            ("roi-cls : decoding alone, allocator set", "cold_to_decode_tuned"),
            ("roi-cls : plain loop", "cold_to_plain"),
        )
    ]


def render(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    speed, warm = results["speed"], results["warm"]
    columns = speed_columns(speed)
    real = f" and {speed['real']['pictures']} real" if "real" in speed else ""
    lines = [
        f"{speed['machine']}; {speed['pictures']} drawn{real} portraits of 1024 px, "
        f"{speed['workers']} processes",
        "",
        f"| | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *(f"| {' | '.join(row)} |" for row in speed_rows(columns.values())),
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
    parser.add_argument("--real", type=Path, help="folder of real portraits, measured, too")
    options = parser.parse_args()
    amount = ("--pictures", str(options.pictures), "--rounds", str(options.rounds))
    real = ("--real", str(options.real)) if options.real else ()
    results = {
        "speed": run("speed", *amount, *real),
        "warm": run("warm", "--pictures", str(options.known)),
        "formats": run("formats"),
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(render(results))


if __name__ == "__main__":
    main()
