"""`tinycnn explain-algo`: how a convolution is computed, and why so."""
import json
import sys

import click


class Numbers(click.ParamType):
    """`count` positive integers with an x between them; a single one may stand for all where `alike`."""

    def __init__(self, count, alike=False, least=1):
        self.count, self.alike, self.least = count, alike, least
        self.name = "x".join("N" * count)

    def convert(self, value, parameter, context):
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in value.split("x"))
        except ValueError:
            numbers = ()
        if self.alike and len(numbers) == 1:
            numbers *= self.count
        if len(numbers) != self.count or min(numbers) < self.least:
            example = "x".join(["3", "5", "7"][:self.count])
            self.fail(f"{value!r} should be {self.count} numbers of at least {self.least}, like {example}{', or one for both' if self.alike else ''}", parameter, context)
        return numbers


PAIR = Numbers(2, alike=True)


@click.command("explain-algo", short_help="Every algorithm for a convolution; which is chosen, and why.")
@click.argument("layer", required=False, metavar="[MODEL.LAYER]")
@click.option("--input", "image", type=Numbers(3), help="C, H and W of the images, such as 64x56x56.")
@click.option("--filters", type=click.IntRange(1), help="Their number, K.")
@click.option("--kernel", type=PAIR, help="Size of the filters, 3 or 3x5.")
@click.option("--stride", type=PAIR, default="1", show_default=True, help="Of the filters.")
@click.option("--padding", type=Numbers(2, alike=True, least=0), default="0", show_default=True, help="Around the images.")
@click.option("--dilation", type=PAIR, default="1", show_default=True, help="Of the filters.")
@click.option("--groups", type=click.IntRange(1), default=1, show_default=True, help="Independent parts of the channels.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images at a time.")
@click.option("--image-size", type=click.IntRange(1), help="Of MODEL's images. [default: the published network's]")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True, help="Precision.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where. On cuda without a GPU only the model speaks.")
@click.option("--threads", type=click.IntRange(1), help="Processor cores to use. [default: all]")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="How often the algorithms take turns.")
@click.option("--seconds", type=click.FloatRange(0), default=0.1, show_default=True, help="Of calls in each turn; one call at least.")
@click.option("--no-measure", is_flag=True, help="Show what the model expects, and measure nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def explain_algo(layer, image, filters, kernel, stride, padding, dilation, groups, batch, image_size, dtype, device, threads, rounds, seconds, no_measure, as_json):
    """Show every algorithm for a convolution: what the model expects of it, what it really does, which is chosen (*) and why.

    The convolution is one of a network, or any that options describe. For forward, input gradient and weight gradient: expected time on one core and measured
    time, GFLOP/s (of the definition, whatever the algorithm really does), scratch memory, largest error in sigma of the answer in float64. For CUDA the expected time is
    that of an H200 by a roofline, with each launch's FLOPs, bytes, blocks, and how many warps a multiprocessor holds (by the compiler's report, if it is installed).

    \b
    tinycnn explain-algo resnet50.layer1.0.conv2 --batch 16
    tinycnn explain-algo --input 64x56x56 --filters 128 --kernel 3 --stride 2 --padding 1
    tinycnn explain-algo googlenet.inception3a.branch2.1.conv --no-measure
    tinycnn explain-algo vgg16.features.10 --batch 32 --device cuda
    """
    import tinycnn

    from ..bench import algorithms
    from ..bench.layers import Layer
    from ..bench.measure import Plan
    given = {"--input": image, "--filters": filters, "--kernel": kernel}
    missing = [option for option, value in given.items() if value is None]
    if bool(layer) == (not missing) or (layer and len(missing) < 3):
        raise click.UsageError("name a layer (MODEL.LAYER, such as resnet50.layer1.0.conv2), or describe one with --input, --filters and --kernel"
                               + (f"; {', '.join(missing)} is missing" if 0 < len(missing) < 3 and not layer else ""))
    if threads is not None:
        tinycnn.set_num_threads(threads)
    if layer:
        what = algorithms.layer_of_network(layer, batch, image_size)
    else:
        if image[0] % groups or filters % groups:
            raise ValueError(f"--groups {groups} must divide the {image[0]} channels and the {filters} filters")
        what = Layer("", batch, *image, filters, *kernel, stride, padding, dilation, groups)
        what.geometry.output_size(image[1:], kernel)  # raises where the filter does not fit
    rows = algorithms.candidates(what, dtype, device=device)
    missing = _no_gpu() if device == "cuda" else None
    if not no_measure and missing is None:
        algorithms.measured(what, rows, Plan(rounds=rounds, seconds=seconds), dtype, _tell, device)
        _tell("")
    elif not no_measure:
        click.echo(f"Not measured: {missing}", err=True)
    threads = tinycnn.get_num_threads()
    click.echo(json.dumps(algorithms.as_dict(what, rows, threads), indent=2) if as_json else algorithms.table(what, rows, threads, device))


def _no_gpu():
    """Why nothing can be measured with CUDA here, or None."""
    from ..kernels.cuda import backend
    try:
        return "this is the simulator, whose times say nothing of a GPU." if backend.is_simulated() else None
    except RuntimeError as error:
        return str(error)


def _tell(text):
    """What is going on, in a line that the next one overwrites; nothing where nobody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=False, err=True)
