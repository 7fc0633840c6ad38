"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

import click

from attachtrans import __version__, allocator
from attachtrans.cli.extract import extract
from attachtrans.cli.footprint import footprint
from attachtrans.cli.info import info
from attachtrans.cli.model import model
from attachtrans.cli.options import BAD_USAGE, COULD_NOT_RUN, DONE, INTERRUPTED
from attachtrans.cli.ortho import ortho
from attachtrans.cli.pose import pose
from attachtrans.cli.translate import translate
from attachtrans.errors import ArgumentError, AttachtransError

_EXAMPLES = """
\b
Examples:
  attachtrans info photos.gpkg
  attachtrans translate photos.gpkg --model sr-x2 --output sharp.gpkg:photos
  attachtrans translate photos.gpkg --model sr-x2 --overwrite-attachments
  attachtrans extract photos.gpkg -o photos/
  attachtrans footprint photos.gpkg -o views.gpkg
  attachtrans ortho drone/ -o orthos/ --dem dsm.tif
  attachtrans model info sr-x2
"""

_WITHOUT_NET = frozenset({"footprint", "ortho", "pose"})
"""Commands whose arrays are so small that libraries' threads would only wait for each other."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Modules are many objects that stay: looking for garbage among them is a tenth of the start.
    gc.set_threshold(50_000)
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()  # so that a full disk shows here and not when Python is gone
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = BAD_USAGE
    except ArgumentError as error:
        click.echo(f"attachtrans: {error}", err=True)
        code = BAD_USAGE
    except AttachtransError as error:
        click.echo(f"attachtrans: {error}", err=True)
        code = COULD_NOT_RUN
    except (click.Abort, KeyboardInterrupt):
        click.echo("attachtrans: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        code = DONE
    except OSError as error:  # what nobody can foresee, such as a full disk behind stdout
        logging.getLogger(__name__).debug("where it happened", exc_info=error)
        click.echo(f"attachtrans: {error}", err=True)
        _drop_stdout()
        code = COULD_NOT_RUN
    gc.freeze()  # nor among what goes with the process, which takes as long again
    sys.exit(code)


def _drop_stdout() -> None:
    """Let what is still buffered go nowhere: Python would fail over it once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXAMPLES,
)
@click.version_option(__version__, prog_name="attachtrans")
@click.option("-v", "--verbose", count=True, help="Say more on stderr (-vv: everything).")
@click.pass_context
def cli(ctx: click.Context, verbose: int) -> None:
    """Translate the photos attached to geographic features with deep learning, and lose nothing."""
    if ctx.invoked_subcommand in _WITHOUT_NET:
        for library in ("OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
            os.environ.setdefault(library, "1")
        allocator.keep_freed()
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    # It reports every odd tag of a photo as an error; what matters comes as an outcome.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    # What GDAL warns of is raised where it matters; its own words come with -v.
    gdal = logging.getLogger("rasterio")
    gdal.addHandler(logging.NullHandler())
    gdal.propagate = verbose > 0


for _command in (translate, info, extract, footprint, ortho, pose, model):
    cli.add_command(_command)
