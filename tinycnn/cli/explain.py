"""`tinycnn explain`: pages on which operations can be seen, forward and backward."""
import click

from .explain_algo import PAIR, Numbers
from .names import Commands

SIZE = Numbers(2, alike=True)
FROM_ZERO = Numbers(2, alike=True, least=0)
PICTURE = click.option("--image", type=click.Path(exists=True, dir_okay=False),
                       help="A picture for the input: scaled to --input, grey for one channel, in colours for three.")


@click.group(cls=Commands, short_help="Write a page on which an operation can be seen at work.")
def explain():
    """Write a page on which an operation can be seen at work: where each number of its result and of its gradients comes from.

    \b
    tinycnn explain conv --input 5x5 --kernel 3 --stride 2 --padding 1
    tinycnn explain conv --input 32x32 --channels 3 --image photo.jpg
    tinycnn explain maxpool --input 6x6 --kernel 3 --stride 2

    A page is one HTML file that opens in any browser, without a network. Its numbers are computed by the engine, and checked by the page itself.
    """


def options(*chosen):
    """A decorator with these options of click, in this order."""
    def add(command):
        for option in reversed(chosen):
            command = option(command)
        return command
    return add


def numbers_and_file(name):
    """The options that all pages have."""
    return options(
        click.option("--numbers", type=click.Choice(["whole", "normal"]), default="whole", show_default=True, help="Small whole numbers, or normally distributed ones."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the numbers."),
        click.option("-o", "--out", type=click.Path(dir_okay=False), default=f"explain-{name}.html", show_default=True, help="The file to write."),
        click.option("--open", "show", is_flag=True, help="Open it in the browser."))


def images(size, channels):
    """The options for the input of what keeps channels apart."""
    return options(
        click.option("--input", "size", type=SIZE, default=size, show_default=True, help="Height and width of the input."),
        click.option("--channels", type=click.IntRange(1), default=channels, show_default=True, help="Of the input, C."),
        click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Number of inputs, N."),
        PICTURE)


WINDOW = options(
    click.option("--kernel", type=PAIR, default="3", show_default=True, help="Size of the windows, 3 or 3x5."),
    click.option("--stride", type=PAIR, help="By how much a window moves.  [default: the kernel's size]"),
    click.option("--padding", type=FROM_ZERO, default="0", show_default=True, help="Around the input; at most half of the kernel."),
    click.option("--ceil-mode", is_flag=True, help="Left-over elements get a window of their own."))

@explain.command(short_help="A convolution: y, dx, dw and db, and their equivalent forms.")
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
@PICTURE
@numbers_and_file("conv")
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
    x = made.input_of(batch, channels, size, numbers, rng, image)
    w = made.draw((filters, channels // groups, *kernel), numbers, rng)
    bias = None if no_bias else made.draw((filters,), numbers, rng)
    dy = made.draw((batch, filters, *positions), numbers, rng)
    finish(out, of_conv.page(x, w, bias, dy, geometry, made.origin(image, numbers, seed)), show)


@explain.command()
@images("6x6", 1)
@WINDOW
@click.option("--dilation", type=PAIR, default="1", show_default=True, help="Distance of a window's elements.")
@numbers_and_file("maxpool")
def maxpool(size, channels, batch, image, kernel, stride, padding, ceil_mode, dilation, numbers, seed, out, show):
    """Max pooling: who wins each window, and where its gradient goes.

    \b
    tinycnn explain maxpool --input 6x6 --kernel 3 --stride 2
    """
    from ..ops.pool import pooling_window
    from ..pages import pool
    window = pooling_window("explain maxpool", kernel, stride, padding, dilation, ceil_mode)
    x, dy, origin = input_and_gradient(size, channels, batch, image, numbers, seed, window.positions(size))
    finish(out, pool.max_page(x, dy, window, origin), show)


@explain.command(short_help="Average pooling: how gradients are shared.")
@images("6x6", 1)
@WINDOW
@click.option("--no-count-pad", is_flag=True, help="Divide by the number of real elements only.")
@numbers_and_file("avgpool")
def avgpool(size, channels, batch, image, kernel, stride, padding, ceil_mode, no_count_pad, numbers, seed, out, show):
    """Average pooling: what each window's number is, and how gradients are shared.

    \b
    tinycnn explain avgpool --input 5x5 --kernel 3 --stride 2 --padding 1 --no-count-pad
    """
    from ..ops.pool import pooling_window
    from ..pages import pool
    window = pooling_window("explain avgpool", kernel, stride, padding, 1, ceil_mode)
    x, dy, origin = input_and_gradient(size, channels, batch, image, numbers, seed, window.positions(size))
    finish(out, pool.avg_page(x, dy, window, not no_count_pad, origin=origin), show)


@explain.command(short_help="AlexNet's response normalisation: both parts of its gradient.")
@images("4x4", 7)
@click.option("--size", "neighbours", type=click.IntRange(1), default=5, show_default=True, help="How many channels are looked at, n.")
@click.option("--alpha", type=float, default=0.1, show_default=True, help="Times the sum of squares, as in the paper (whose 0.0001 would hardly show).")
@click.option("--beta", type=float, default=0.75, show_default=True, help="The power.")
@click.option("--k", type=float, default=2, show_default=True, help="The base where all channels are 0.")
@numbers_and_file("lrn")
def lrn(size, channels, batch, image, neighbours, alpha, beta, k, numbers, seed, out, show):
    """Local response normalisation, AlexNet's: how channels damp each other, and both parts of its gradient.

    \b
    tinycnn explain lrn --channels 8 --size 4 --alpha 0.5
    """
    from ..pages import pointwise
    x, dy, origin = input_and_gradient(size, channels, batch, image, numbers, seed, size)
    finish(out, pointwise.lrn_page(x, dy, neighbours, alpha, beta, k, origin), show)


@explain.command()
@images("5x5", 1)
@numbers_and_file("relu")
def relu(size, channels, batch, image, numbers, seed, out, show):
    """The rectifier: where gradients pass, and where they stop.

    \b
    tinycnn explain relu --input 6x6
    """
    from ..pages import pointwise
    x, dy, origin = input_and_gradient(size, channels, batch, image, numbers, seed, size)
    finish(out, pointwise.relu_page(x, dy, origin), show)


@explain.command(short_help="GoogLeNet's module: four branches whose gradients meet in x.")
@images("5x5", 3)
@numbers_and_file("inception")
def inception(size, channels, batch, image, numbers, seed, out, show):
    """GoogLeNet's inception module: four branches, and how their gradients meet in x.

    \b
    tinycnn explain inception --input 6x6 --channels 4
    """
    import numpy as np

    from ..pages import block, made
    rng = np.random.default_rng(seed)
    x = made.input_of(batch, channels, size, numbers, rng, image)
    finish(out, block.inception(x, numbers, rng, made.origin(image, numbers, seed)), show)


@explain.command()
@images("5x5", 2)
@click.option("--filters", type=click.IntRange(1), help="Maps of the result, K.  [default: as many as x has]")
@click.option("--stride", type=click.IntRange(1), default=1, show_default=True, help="Of the first convolution. With 2 or other --filters the shortcut projects.")
@numbers_and_file("residual")
def residual(size, channels, batch, image, filters, stride, numbers, seed, out, show):
    """ResNet's block: two paths from x to y, and back.

    \b
    tinycnn explain residual --input 6x6
    tinycnn explain residual --channels 2 --filters 4 --stride 2
    """
    import numpy as np

    from ..pages import block, made
    rng = np.random.default_rng(seed)
    x = made.input_of(batch, channels, size, numbers, rng, image)
    finish(out, block.residual(x, filters or channels, stride, numbers, rng, made.origin(image, numbers, seed)), show)


def input_and_gradient(size, channels, batch, image, numbers, seed, positions):
    """x of this size with numbers of both signs, dy of so many positions, and where they come from."""
    import numpy as np

    from ..pages import made
    rng = np.random.default_rng(seed)
    x = made.input_of(batch, channels, size, numbers, rng, image, whole=range(-4, 6))
    return x, made.draw((batch, channels, *positions), numbers, rng), made.origin(image, numbers, seed)


def finish(out, page, show):
    """Write the page, say where it is, and open it if asked to."""
    from ..pages.page import write
    path = write(out, page).resolve()
    click.echo(f"wrote {out} ({path.stat().st_size / 1024:.0f} KiB): {page['title']}")
    if show and click.launch(path.as_uri()):
        raise RuntimeError(f"no browser could be started: open {path} yourself")
