"""`tinycnn explain`: pages on which operations can be seen, forward and backward."""
import click

from .explain_algo import PAIR, Numbers

SIZE = Numbers(2, alike=True)
FROM_ZERO = Numbers(2, alike=True, least=0)


@click.group()
def explain():
    """Write a page on which an operation can be seen at work: where each number of its result and of its gradients comes from.

    \b
    tinycnn explain conv --input 5x5 --kernel 3 --stride 2 --padding 1
    tinycnn explain conv --input 32x32 --channels 3 --image photo.jpg

    A page is one HTML file that opens in any browser, without a network. Its numbers are computed by the engine, and checked by the page itself.
    """


def numbers_and_file(default):
    """The options that all pages have."""
    options = (
        click.option("--numbers", type=click.Choice(["whole", "normal"]), default="whole", show_default=True, help="Small whole numbers, or normally distributed ones."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the numbers."),
        click.option("-o", "--out", type=click.Path(dir_okay=False), default=default, show_default=True, help="The file to write."),
        click.option("--open", "show", is_flag=True, help="Open it in the browser."))

    def add(command):
        for option in reversed(options):
            command = option(command)
        return command
    return add


@explain.command()
@click.option("--input", "size", type=SIZE, default="5x5", show_default=True, help="Height and width of the input.")
@click.option("--channels", type=click.IntRange(1), help="Of the input, C.  [default: one in each group]")
@click.option("--filters", type=click.IntRange(1), help="Their number, K.  [default: one in each group]")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Number of inputs, N.")
@click.option("--kernel", type=PAIR, default="3", show_default=True, help="Size of the filters, 3 or 3x5.")
@click.option("--stride", type=PAIR, default="1", show_default=True, help="By how much a filter moves.")
@click.option("--padding", type=FROM_ZERO, default="0", show_default=True, help="Zeros around the input.")
@click.option("--dilation", type=PAIR, default="1", show_default=True, help="Distance of a filter's taps.")
@click.option("--groups", type=click.IntRange(1), default=1, show_default=True, help="Independent parts of the channels.")
@click.option("--no-bias", is_flag=True, help="Without a bias.")
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="A picture for the input: scaled to --input, grey for one channel, in colours for three.")
@numbers_and_file("explain-conv.html")
def conv(size, channels, filters, batch, kernel, stride, padding, dilation, groups, no_bias, image, numbers, seed, out, show):
    """A convolution: windows and columns, dx and dw in their equivalent forms, db, and how often everything is used.

    \b
    tinycnn explain conv --input 5x5 --kernel 3 --stride 2 --padding 1
    tinycnn explain conv --input 7x6 --kernel 3x2 --dilation 2 --channels 4 --filters 6 --groups 2
    tinycnn explain conv --input 32x32 --channels 3 --filters 8 --kernel 5 --padding 2 --image photo.jpg --open
    """
    import numpy as np

    from ..kernels.conv.geometry import Geometry
    from ..pages import conv as of_conv
    from ..pages import made
    channels, filters = channels or groups, filters or groups
    if channels % groups or filters % groups:
        raise click.UsageError(f"--groups {groups} must divide the {channels} channels and the {filters} filters")
    geometry = Geometry(stride, padding, dilation, groups)
    positions = geometry.output_size(size, kernel)  # raises where the filter does not fit
    rng = np.random.default_rng(seed)
    shape = (batch, channels, *size)
    x = made.draw(shape, numbers, rng, whole=(0, 1, 2, 3, 4))
    if image:
        x[:] = made.image(image, shape)
    w = made.draw((filters, channels // groups, *kernel), numbers, rng)
    bias = None if no_bias else made.draw((filters,), numbers, rng)
    dy = made.draw((batch, filters, *positions), numbers, rng)
    finish(out, of_conv.page(x, w, bias, dy, geometry, origin=f" from {image or ('whole' if numbers == 'whole' else 'normal') + ' random numbers'}, seed {seed}"), show)


def finish(out, page, show):
    """Write the page, say where it is, and open it if asked to."""
    from ..pages.page import write
    path = write(out, page).resolve()
    click.echo(f"wrote {out} ({path.stat().st_size / 1024:.0f} KiB): {page['title']}")
    if show and click.launch(path.as_uri()):
        raise RuntimeError(f"no browser could be started: open {path} yourself")
