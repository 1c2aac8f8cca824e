"""Arguments and options of commands that take pictures from anywhere: predict and explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roi_cls.console.words import parse_bytes

if TYPE_CHECKING:
    from roi_cls.inputs.sources import SourceOptions
    from roi_cls.inputs.video import Every


FETCHED = "From the web and videos"
"""Heading of these options in a command's help."""
AnyInputs = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders, archives, patterns, lists (.txt, .csv), videos, URLs; '-': stdin.",
    ),
]

EveryText = Annotated[
    str,
    typer.Option(
        "--every",
        metavar="<span>",
        rich_help_panel=FETCHED,
        help="Frames of a video, like 0.5s or 10f.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        max=86_400,
        rich_help_panel=FETCHED,
        help="Seconds that fetching a URL may take.",
    ),
]
MaxBytes = Annotated[
    str, typer.Option(metavar="<size>", rich_help_panel=FETCHED, help="Of what a URL gives.")
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private",
        rich_help_panel=FETCHED,
        help="Also fetch from this machine and its own network.",
    ),
]


def read_source_options(
    every: str, timeout: float, max_bytes: str, allow_private: bool, max_pixels: int
) -> SourceOptions:
    """Return how pictures are had, from what the options say.

    Raises:
        typer.BadParameter: One says nothing that can be meant.
    """
    from roi_cls.inputs.sources import SourceOptions
    from roi_cls.inputs.web import WebLimits

    web = WebLimits(timeout, parse_bytes(max_bytes), allow_private)
    return SourceOptions(_parse_every(every), web, max_pixels)


def _parse_every(text: str) -> Every:
    from roi_cls.inputs.video import Every

    try:
        return Every.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"--every: {error}") from error
