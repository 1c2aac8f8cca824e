"""The two helps of each command, and the option that a mistyped one is near to.

``--help`` is one screen: a line for each option that most people use. ``--help-all`` is every
option with its full text. Typer parses, and says what there is; its own page is not used, as its
columns for types and short names leave a text three words a line.
"""

from __future__ import annotations

import difflib
import inspect
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup

from roi_cls.console.terminal import show

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.panel import Panel
    from rich.text import Text

Function = TypeVar("Function", bound=Callable[..., Any])
ALL = "--help-all"
"""The option that shows every option."""
WIDEST = 100
"""Characters of a line at most: longer ones are hard to follow, however wide the terminal."""
# Click's, of which typer hands out this class below it alone: the click within is not for import.
_USAGE_ERROR = cast(type[Exception], typer.BadParameter.__base__)
_NARROWEST = 40
_USUAL = "usual_options"
_ARGUMENTS, _OPTIONS, _COMMANDS = "Arguments", "Options", "Commands"
_NAME, _VALUE, _ASIDE = "bold cyan", "yellow", "dim"
_INDENT = " " * 4
_UNBROKEN = "\xa0"
"""A space at which no line is broken."""
_FRAME = 4  # of a panel, with its margins
_GAP = 2  # between name and text
_COMPLETION_WIDTH = 60
_LIST = re.compile(r"list\[(.*)\]")
_CLAUSE_END = re.compile(r"(?<=[.;?!]) ")


def usual_options(**panels: str) -> Callable[[Function], Function]:
    """Name the options that ``--help`` shows of a command; without this it shows all.

    panels: the options below each heading, as they are typed: ``data="--target --labels"``.
    """

    def mark(function: Function) -> Function:
        named = {title.capitalize(): names.split() for title, names in panels.items()}
        function.__dict__[_USUAL] = named  # what wraps a function takes this along
        return function

    return mark


class _TwoHelps:
    """What a command and a group of commands have in common."""

    def parse_args(self: Any, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does; name the option that an unknown one is near to."""
        ctx.meta[ALL] = ALL in args
        words = tuple(args)  # parsing takes them away
        try:
            return list(super().parse_args(ctx, args))  # type: ignore[misc]  # of the class beside it
        except _USAGE_ERROR as error:
            if hasattr(error, "possibilities"):
                _suggest(error, words, self.get_params(ctx))
            raise

    def get_help_option(self: Any, ctx: Any) -> Any:
        """Return typer's own option, which has the names of both."""
        option = super().get_help_option(ctx)  # type: ignore[misc]  # as above
        option.opts.sort()  # out of a set
        option.help = f"Show the usual options on one screen, or with {ALL} every option."
        return option

    def shell_complete(self: Any, ctx: Any, incomplete: str) -> list[Any]:
        """Return typer's completions; of a text in lines fish would make several."""
        items: list[Any] = super().shell_complete(ctx, incomplete)  # type: ignore[misc]  # as above
        for item in items:
            item.help = item.help and short_text(item.help, _COMPLETION_WIDTH)
        return items

    def format_help(self: Any, ctx: Any, formatter: Any) -> None:
        """Print the help that is asked for."""
        from rich.console import Console

        stdout, page = Console(), io.StringIO()
        width = max(_NARROWEST, min(stdout.width, WIDEST))
        console = Console(
            file=page, force_terminal=stdout.is_terminal, width=width, highlight=False
        )
        for part in _page(self, ctx, width - _FRAME, ctx.meta[ALL]):
            console.print(part)
        show(page.getvalue().rstrip("\n"))


class Command(_TwoHelps, TyperCommand):
    """A command with both helps."""


class Group(_TwoHelps, TyperGroup):
    """Commands below one name, with both helps."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is named; of an unknown one tell where it may be found."""
        try:
            return super().resolve_command(ctx, args)
        except _USAGE_ERROR as error:  # typer has looked among the group's own
            below = {
                name: f"{group} {name}"
                for group, child in self.commands.items()
                for name in getattr(child, "commands", {})
            }
            near = difflib.get_close_matches(args[0], below, n=1)
            message = getattr(error, "message", "")
            if near and "Did you mean" not in message:
                error.message = f"{message} Did you mean {below[near[0]]!r}?"  # type: ignore[attr-defined]  # as above
            raise


class App(typer.Typer):
    """Typer's app, all commands of which have both helps."""

    def __init__(self, cls: type[Group] = Group, **settings: Any) -> None:
        names = {"help_option_names": ["--help", ALL]}  # handed down to the commands
        super().__init__(cls=cls, no_args_is_help=True, context_settings=names, **settings)

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **settings: Any
    ) -> Callable[[Function], Function]:
        """Register a command."""
        return super().command(name, cls=cls, **settings)


def _suggest(error: Any, words: Sequence[str], params: Sequence[Any]) -> None:
    """Let click's error about an unknown option name the nearest that there is."""
    unknown = error.option_name
    if not unknown.startswith("--"):  # of -epochs it tells the first letter alone
        unknown = next((word for word in words if word.startswith(unknown)), unknown)
    known = [name for param in params for name in (*param.opts, *param.secondary_opts)]
    name = unknown.partition("=")[0]
    is_word = len(name) > len("-x")
    near = difflib.get_close_matches(f"--{name.lstrip('-')}", known, n=1) if is_word else []
    error.message = f"No such option: {name}" + (f". Did you mean {near[0]}?" if near else "")
    error.possibilities = None  # they would be told, too, in the order of the alphabet


def _page(command: Any, ctx: typer.Context, width: int, is_full: bool) -> Iterator[RenderableType]:
    """Yield what a help shows, from its top; texts in panels are so wide."""
    from rich.padding import Padding
    from rich.text import Text

    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for text in (command.get_usage(ctx), *map(_one_line, paragraphs)):
        yield Padding(Text(text), (0, 1, 1, 1), expand=False)
    usual = {} if is_full else _usual_rows(command, ctx)
    if is_full:
        yield from _full_panels(_by_panel(command.get_params(ctx)), ctx, width)
    yield from _short_panels(usual, width)
    commands = _command_rows(command)
    yield from _short_panels(commands, width)
    key = " […] default ·" if any(row.default for rows in usual.values() for row in rows) else ""
    where = f"COMMAND {ALL}" if commands else ALL
    last = f"{key} {where} shows every option · docs/reference.md explains them"
    yield Text(last, style=_ASIDE)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _by_panel(params: Sequence[Any]) -> dict[str, list[Any]]:
    """Return parameters by the heading that each has in the code; those without come first."""
    panels: dict[str, list[Any]] = {_ARGUMENTS: [], _OPTIONS: []}
    for param in params:
        if not param.hidden:
            rest = _ARGUMENTS if _is_argument(param) else _OPTIONS
            panels.setdefault(param.rich_help_panel or rest, []).append(param)
    return {title: params for title, params in panels.items() if params}


def _usual_rows(command: Any, ctx: typer.Context) -> dict[str, list[_Row]]:
    """Return a line for each argument and usual option, by headings."""
    panels = _by_panel(command.params)  # without --help itself
    usual: Mapping[str, list[str]] = getattr(command.callback, _USUAL, {})
    if usual:
        options = {name: param for param in command.params for name in param.opts}
        chosen = {title: [options[name] for name in names] for title, names in usual.items()}
        panels = {_ARGUMENTS: panels.get(_ARGUMENTS, []), **chosen}
    return {title: [_Row.of(p, ctx) for p in params] for title, params in panels.items() if params}


def _command_rows(command: Any) -> dict[str, list[_Row]]:
    """Return a line for each command of a group, by headings."""
    panels: dict[str, list[_Row]] = {}
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            summary = inspect.cleandoc(child.help or "").partition("\n\n")[0]
            row = _Row(name, _one_line(summary))
            panels.setdefault(child.rich_help_panel or _COMMANDS, []).append(row)
    return panels


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _names(param: Any, *, in_short: bool) -> str:
    """Return an option's spellings, the shortest first; ``--[no-]x`` for both of a switch."""
    if _is_argument(param):
        return str(param.name) + ("..." if param.nargs == -1 else "")
    names = ", ".join(sorted(param.opts, key=len))
    if not param.secondary_opts:
        return names
    return f"--[no-]{names[2:]}" if in_short else f"{names} / {', '.join(param.secondary_opts)}"


def _default(param: Any, ctx: typer.Context) -> str:
    """Return what holds where nothing is given; empty where that is nothing, or off."""
    value = param.get_default(ctx, call=False)
    if value is None or value is False or value == []:
        return ""
    return "on" if value is True else str(value)


@dataclass(frozen=True, slots=True)
class _Row:
    """What one line of a short help says."""

    name: str
    text: str
    """In full; the line shows as much as it holds."""
    default: str = ""
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, param: Any, ctx: typer.Context) -> _Row:
        """Return the line of an option or argument."""
        is_needed = param.required and not _is_argument(param)  # of arguments the usage tells
        default = "required" if is_needed else _default(param, ctx)
        choices = map(str, param.type_descriptor.choices or ())
        return cls(_names(param, in_short=True), param.help or "", default, tuple(choices))


def _short_panels(panels: Mapping[str, Sequence[_Row]], width: int) -> Iterator[Panel]:
    """Yield panels whose texts begin in one column."""
    from rich.table import Table
    from rich.text import Text

    longest = max((len(row.name) for rows in panels.values() for row in rows), default=0)
    for title, rows in panels.items():
        grid = Table.grid(padding=(0, _GAP, 0, 0))
        grid.add_column(style=_NAME, width=longest, no_wrap=True)
        grid.add_column(no_wrap=True)
        for row in rows:
            default = f" [{row.default}]" if row.default else ""
            text = short_text(row.text, width - longest - _GAP - len(default), row.choices)
            grid.add_row(Text(row.name), Text(text).append(default, style=_ASIDE))
        yield _panel(title, grid)


def short_text(text: str, width: int, choices: Sequence[str] = ()) -> str:
    """Return a text's beginning that a line holds: as many of its clauses as there is room for.

    Where there are choices that are not all named, they stand behind the first clause instead.
    """
    for one in _beginnings(text, choices):
        if len(one) <= width:
            return one
    return text[: max(width - 1, 0)].rstrip() + "…"


def _beginnings(text: str, choices: Sequence[str]) -> Iterator[str]:
    """Yield what may stand for a text, the best first."""
    clauses = _CLAUSE_END.split(text)
    counts = range(len(clauses), 0, -1)
    whole, *shorter = (" ".join(clauses[:count]).rstrip(".;") for count in counts)
    head, *parts = clauses[0].rstrip(".;").split(", ")
    topic = clauses[0].rstrip(".;").partition(": ")[0]
    if all(choice in whole for choice in choices):
        yield whole
    if choices:
        yield f"{topic}: {', '.join(choices)}"
    yield from (whole, *shorter, topic)
    yield from (", ".join([head, *parts[:count]]) for count in range(len(parts), -1, -1))


def _full_panels(
    panels: Mapping[str, Sequence[Any]], ctx: typer.Context, width: int
) -> Iterator[Panel]:
    """Yield panels with the whole text of each option below its name."""
    from rich.text import Text

    for title, params in panels.items():
        lines = Text()
        for param in params:
            lines.append(_names(param, in_short=False), style=_NAME)
            lines.append(_kind(param, ctx) + "\n", style=_VALUE)
            lines.append(_wrapped(param.help or "", list(_facts(param, ctx)), width))
        lines.rstrip()
        yield _panel(title, lines)


def _wrapped(text: str, facts: Sequence[str], width: int) -> Text:
    """Return a help text in lines of its own; none of the facts behind it is broken."""
    from rich.text import Text

    whole = [f"[{fact}]".replace(" ", _UNBROKEN) for fact in facts]
    lines = textwrap.wrap(
        " ".join([text, *whole]),
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )
    told = Text("\n".join(lines).replace(_UNBROKEN, " ") + "\n")
    told.highlight_words([f"[{fact}]" for fact in facts], _ASIDE)
    return told


def _kind(param: Any, ctx: typer.Context) -> str:
    """Return what kind of value an option takes; empty where it takes none."""
    if getattr(param, "is_flag", False):
        return ""
    kind = _LIST.sub(r"\1", str(param.display_type_rich(ctx))).replace(" range", "")
    return f" {kind}{' …' if getattr(param, 'multiple', False) else ''}"


def _facts(param: Any, ctx: typer.Context) -> Iterator[str]:
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    if low is not None:
        yield f"at least {low}" if high is None else f"{low} to {high}"
    if param.envvar:
        yield f"env var: {param.envvar}"
    default = _default(param, ctx) or ("off" if getattr(param, "secondary_opts", ()) else "")
    if default:
        yield f"default: {default}"
    if param.required:
        yield "required"


def _panel(title: str, content: RenderableType) -> Panel:
    from rich.panel import Panel
    from rich.text import Text

    head = Text(title, style="not dim")
    return Panel(content, title=head, title_align="left", border_style=_ASIDE)
