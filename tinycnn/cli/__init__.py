"""The command `tinycnn`: one file for each of its commands.

These files import nothing heavy before a command runs, so that `tinycnn --help` answers at once.
"""
import os
import sys

import click

from . import bench, cuda, evaluate, explain, explain_algo, gradcheck, info, lecture, lists, museum, predict, summary, train
from .names import Commands

EXPECTED = (ValueError, TypeError, RuntimeError, OSError, IndexError, ArithmeticError, MemoryError, ImportError)  # what wrong input raises; anything else is a bug


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tinycnn")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error (also: TINYCNN_DEBUG=1).")
def cli(debug):
    """Train, test and look into convolutional networks.

    \b
    tinycnn train                       LeNet-5 on the bundled images, in about a minute
    tinycnn train resnet20 --epochs 20  another network
    tinycnn evaluate runs/lenet5-1      its accuracy
    tinycnn predict 7 -c runs/lenet5-1  what it thinks of test image 7
    tinycnn summary vgg16               its layers, parameters and multiply-adds

    `tinycnn COMMAND --help` explains each command.
    """


for command in (train.train, evaluate.evaluate, predict.predict, summary.summary, lists.models, lists.recipes, info.info, bench.bench,
                cuda.cuda, explain.explain, explain_algo.explain_algo, gradcheck.gradcheck, lecture.lecture, museum.museum):
    cli.add_command(command)


def main(arguments=None):
    """Run the command line; returns nothing, exits with 0, 1 (an error, shown as one message), 2 (wrong usage) or 130 (Ctrl-C)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments or os.environ.get("TINYCNN_DEBUG", "0") not in ("", "0")
    try:
        cli.main([argument for argument in arguments if argument != "--debug"], "tinycnn", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(str(stop.__cause__ or stop) or "stopped", err=True)  # click raises Abort from the KeyboardInterrupt
        sys.exit(130)
    except BrokenPipeError:  # `tinycnn models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except EXPECTED as error:
        if debug:
            raise
        click.echo("\n".join([f"{click.style('error', fg='red')}: {_said(error)}", *(f"  {note}" for note in getattr(error, "__notes__", ()))]), err=True)
        sys.exit(1)


def _said(error):
    """An error in words; the system's own without its number."""
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename and error.strerror else str(error)
