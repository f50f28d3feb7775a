"""The command ``unitscope``: those of ``engine.commands``, and what other packages add as ``unitscope.commands``."""

import atexit
import gc
import os
from importlib.metadata import entry_points
from typing import Any

import click

import engine
from engine.commands.analyse import analyse
from engine.commands.match import match
from engine.commands.measure import bench, check
from engine.commands.networks import convert_weights, list_
from engine.commands.recordings import check_data, fetch
from engine.errors import EngineError

_TRACEBACK = "UNITSCOPE_TRACEBACK"
"""Set, an error that nobody foresaw is shown with where it came from."""


class _Commands(click.Group):
    """Says what is wrong in one sentence instead of a traceback, and finds commands of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(entry_points(group="unitscope.commands").names)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        added = [entry.load() for entry in entry_points(group="unitscope.commands", name=cmd_name)]
        found = own or next(iter(added), None)
        return None if found is None else _with_examples_in_lines(found)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EngineError as error:
            raise click.ClickException(str(error)) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click ends quietly where nobody reads on, as in ``| head``
        except Exception as error:
            if os.environ.get(_TRACEBACK):
                raise
            raise click.ClickException(
                f"{type(error).__name__}: {error}. That is a fault of unitscope: please report it, with what the same "
                f"command prints after export {_TRACEBACK}=1."
            ) from error


def _with_examples_in_lines(command: click.Command) -> click.Command:
    """Give click the backspace that keeps lines apart; in a raw docstring it is two characters, which click ignores."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(engine.__version__, prog_name="unitscope")
def main() -> None:
    r"""Find, for every recorded site of visual cortex, the single units of a deep network that respond most like it.

    \b
    Begin with:   unitscope demo
    Your data:    unitscope match NETWORK RECORDING, then unitscope serve
    """
    atexit.register(gc.freeze)  # a search for garbage in what the system is about to free takes a second


_with_examples_in_lines(main)
for _command in (match, check_data, analyse, fetch, list_, convert_weights, bench, check):
    main.add_command(_command)

if __name__ == "__main__":
    main()
