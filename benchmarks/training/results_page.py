"""Draw a small demo set, compare all recipes and all inputs on it, and write docs/results.md.

    python -m benchmarks.training.results_page [--images 700] [--size 96] [--epochs 6] [--seeds 2]
        [--weights hub|none|FOLDER] [--folder artifacts/results] [--page docs/results.md]

What is finished is not done again: an interrupted call goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe_machine

NOT_RUN = 3  # roi-cls's exit code where all is done but what could not be
INPUT_NETWORK = ("--model", "test_efficientnet", "--weights", "none", "--global-pool", "max")
INPUT_TRAINING = (
    *("--lr", "3e-3", "--imbalance", "sampling", "--patience", "0", "--metric", "loss"),
    *("--augmentation", "light", "--ema", "0", "--label-smoothing", "0"),
)

INTRODUCTION = """\
Written by `make results`, on the drawn demo set. Its defects are drawn, too: these figures show
that the commands work and how their tables read, not which system is best on photographs.
Where a backbone's weights were not at hand, the default model stands in for it: a star marks such
a row. Results on other pictures: [artefacts.md](artefacts.md). Run the same
commands on your own."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the commands and write the page."""
    options = _parse(words)
    demo, runs = options.folder / "demo", options.folder / "runs"
    draw = ["data", "demo", str(demo), "--images", str(options.images)]
    common = ["--size", str(options.size), "--cache", str(options.folder / "crops")]
    compare = ["compare", str(demo), "--epochs", str(options.epochs), *common]
    compare += ["-o", str(runs / "compare")]
    if options.weights:
        compare += ["--weights", options.weights]
    if options.recipes:
        compare += ["--recipes", options.recipes]
    ablate = ["ablate", str(demo), "--inputs", "roi,full,both", "--seeds", str(options.seeds)]
    ablate += ["--epochs", str(4 * options.epochs), *INPUT_NETWORK, *INPUT_TRAINING, *common]
    ablate += ["-o", str(runs / "ablate")]
    commands = [draw, compare, ablate]
    for command in commands:
        _run(command)
    page = make_page(
        commands,
        (runs / "compare" / "results.md").read_text(encoding="utf-8"),
        (runs / "ablate" / "ablation.md").read_text(encoding="utf-8"),
    )
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page, encoding="utf-8")
    print(f"Written: {options.page}")


def make_page(commands: Sequence[Sequence[str]], comparison: str, ablation: str) -> str:
    """Return the page: how it came about, and what the two commands printed."""
    typed = "\n".join(f"roi-cls {shlex.join(command)}" for command in commands)
    return (
        "\n\n".join(
            [
                "# Results on the demo set",
                INTRODUCTION,
                f"```\n{typed}\n```",
                f"Machine: {describe_machine()}.",
                _demote(comparison),
                _demote(ablation),
            ]
        )
        + "\n"
    )


def _demote(page: str) -> str:
    """Return the page as a section of another."""
    return "\n".join(
        f"#{line}" if line.startswith("#") else line for line in page.rstrip().splitlines()
    )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "roi_cls", *command], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in (0, NOT_RUN):
        raise SystemExit(done.returncode)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=700)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=6, help="at most, of each recipe")
    parser.add_argument("--seeds", type=int, default=2, help="of each input")
    parser.add_argument("--weights", help="as of roi-cls compare")
    parser.add_argument("--recipes", help="as of roi-cls compare; unset: all")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
