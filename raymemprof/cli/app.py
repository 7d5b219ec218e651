"""The `raymemprof` command: its group of commands, and what it exits with."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from .._version import __version__
from ..errors import AttachError, CaptureError
from ..ownership import UntrustedError
from . import diagnosis, recorded
from .attach import attach
from .output import say
from .program import InterruptedProgram
from .run import run, runtime_env
from .watch import watch

__all__ = ["main"]


class _Commands(click.Group):
    """Answers bad input, click's own complaints too, with one sentence and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who reads our output, `head` say, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            status = super().main(*args, **{**kwargs, "standalone_mode": False})
        except InterruptedProgram:  # so Python ends the process as it does after Ctrl-C: by the signal
            sys.excepthook = lambda *error: None
            raise KeyboardInterrupt from None
        except click.exceptions.Abort:  # Ctrl-C
            say("stopped.")
            raise SystemExit(130) from None
        except click.ClickException as error:
            text = error.format_message()
        except UntrustedError as error:
            text = str(error)
        except OSError as error:
            text = f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)
        except (AttachError, CaptureError, ValueError, TypeError) as error:
            text = str(error)
        else:
            raise SystemExit(status if isinstance(status, int) else 0)
        say(" ".join(text.split()))
        raise SystemExit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="raymemprof")
@click.pass_context
def main(context: click.Context) -> None:
    """Debug the memory of Ray tasks and actors."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    run,
    runtime_env,
    attach,
    recorded.calls,
    recorded.summary,
    recorded.captures,
    recorded.heap,
    recorded.flamegraph,
    recorded.table,
    recorded.speedscope,
    recorded.fetch,
    recorded.clean,
    diagnosis.usage,
    watch,
    diagnosis.explain,
    diagnosis.ooms,
    diagnosis.advise,
    diagnosis.doctor,
    diagnosis.timeline,
):
    main.add_command(_command)
