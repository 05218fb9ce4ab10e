"""`tinycnn bench`: how fast, beside whom, and how sure that is."""
import sys

import click

from .names import Commands
from .train import MODEL, key_value

FORMS = ("forward", "input_grad", "weight_grad")


@click.group(cls=Commands, short_help="Measure kernels and networks beside other libraries.")
def bench():
    """Measure kernels, layers and networks beside other libraries, on this machine.

    Whoever is not installed is left out, with the reason. Every answer is compared with float64 before and after it is timed; contestants take turns; a figure that
    is too noisy is refused. docs/benchmarks.md explains everything.

    \b
    tinycnn bench conv resnet50 --quick           convolutions, one by one
    tinycnn bench conv --kernel my_conv.py        your kernel beside ours and the others'
    tinycnn bench inference --batch 1 --batch 16  whole networks
    tinycnn bench training vgg16                  a step of training
    tinycnn bench conv --device cuda              on a GPU, against cuDNN; docs/gpu.md
    tinycnn bench operations --device cuda        matrix products, softmax, optimisers, ... on a GPU
    tinycnn bench machine                         what this machine can do, and who is here
    tinycnn bench show results.json --plot plots  a run, once more
    """


def common(command):
    """The options that all measurements have."""
    for option in reversed((
            click.option("--rivals", metavar="NAMES",
                         help="Who else takes part: names, with commas, each perhaps with a setting (pytorch:nchw). \"none\": nobody. [default: all]"),
            click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where everybody computes."),
            click.option("--math", "maths", type=click.Choice(["fp32", "tf32"]), multiple=True,
                         help="On a GPU: nothing rounded on the way into a product, or factors rounded to 10 bits; may be repeated. [default: fp32]"),
            click.option("--threads", type=click.IntRange(1), multiple=True, help="Threads of everybody; may be repeated. [default: all cores]"),
            click.option("--batch", type=click.IntRange(1), multiple=True, help="Images at a time; may be repeated."),
            click.option("--rounds", type=click.IntRange(1), help="How often the contestants take turns. [default: 7]"),
            click.option("--seconds", type=click.FloatRange(0), help="Of calls in each turn; one call at least. [default: 0.2]"),
            click.option("--cache", type=click.Choice(["warm", "cold"]),
                         help="Arrays just used, or driven out of the caches. [default: warm; on a GPU cold]"),
            click.option("--most-spread", type=click.FloatRange(0), default=0.15, show_default=True, help="Refuse figures whose quartiles are further apart."),
            click.option("--most-disturbed", type=click.FloatRange(0, 1),
                         help="Refuse figures during which other processes took more of the machine. 1: never. [default: 0.06; on a GPU 1]"),
            click.option("--quick", is_flag=True, help="Three short turns at batch 1: a first impression."),
            click.option("--default-malloc", is_flag=True, help="Show beside each figure what it is when malloc is left as it is."),
            click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE", help="Keep the results."),
            click.option("--markdown", type=click.Path(dir_okay=False), metavar="FILE", help="Write the tables as Markdown."),
            click.option("--plot", type=click.Path(file_okay=False), metavar="FOLDER", help="Draw them."))):
        command = option(command)
    return command


def sized(command):
    """The options of networks."""
    for option in reversed((
            click.argument("models", nargs=-1, type=MODEL, metavar="[MODEL]..."),
            click.option("--image-size", type=click.IntRange(1), multiple=True, help="Of the images; may be repeated. [default: the published network's]"),
            click.option("-o", "--option", "options", multiple=True, callback=key_value, metavar="NAME=VALUE",
                         help="An option of the network's function, such as width=0.5."))):
        command = option(command)
    return command


@bench.command(short_help="Convolutions one by one, forward and both gradients.")
@click.argument("sets", nargs=-1, metavar="[SET]...")
@click.option("--kernel", type=click.Path(dir_okay=False), metavar="FILE.py",
              help="Your own: a file with forward(x, w, bias, stride, padding, dilation, groups); with --device cuda also FILE.cu:NAME, a CUDA kernel.")
@click.option("--simulate-first", is_flag=True, help="Try a FILE.cu on the CPU simulator before a GPU runs it.")
@click.option("--pass", "forms", type=click.Choice(FORMS), multiple=True, help="Which passes; may be repeated. [default: all three]")
@click.option("--algorithm", "algorithms", multiple=True, metavar="NAME", help="Also measure this algorithm of ours by itself; may be repeated.")
@click.option("--layer", "only", metavar="TEXT", help="Only layers with this in their name.")
@click.option("--list", "listing", is_flag=True, help="Show the layers of the sets, and measure nothing.")
@common
def conv(sets, kernel, simulate_first, forms, algorithms, only, listing, **how):
    """Convolutions one by one: forward, input gradient and weight gradient of the layers of each SET.

    A SET is a network (alexnet, googlenet, resnet50, vgg16: the default), deepbench_training, deepbench_server, deepbench_device, convnet_benchmarks, or a file like
    those in benchmarks/layers. A published batch that is too large for this machine is cut, and the table says so.

    --kernel brings your own: it is first tried on small awkward shapes, and if anything is wrong you read what, and nothing is timed. A CUDA kernel, FILE.cu:NAME, is
    given what its parameters are called (x, w, bias, y, N, C, stride_h, ...), and comments in its file say how it is launched (docs/gpu.md):

    \b
    // grid NAME: blocks(Q, 32), blocks(P, 8), N * K
    // block NAME: 32, 8
    """
    from ..bench import layers, run
    sets = sets or run.SETS
    batches = _batches(how, (16,) if how["device"] == "cpu" else (64,))
    found = {name: layers.chosen(name, batches[0], only) for name in sets}  # what is misspelt is told before anything is measured
    if listing:
        _list(found)
        return
    if kernel:
        if simulate_first:
            right, report = run.check_on_simulator(kernel)
            click.echo(f"On the simulator:\n{report}\n")
            if not right:
                raise click.ClickException(f"{kernel} is not right on the simulator yet: no GPU ran it")
        right, report = run.check_kernel(kernel, (how["threads"] or (1,))[0], _places(how)[0])
        click.echo(report + "\n")
        if not right:
            raise click.ClickException(f"{kernel} is not right yet: nothing was timed")
    going = _begin(how)
    going.conv(sets, batches, forms or FORMS, kernel, algorithms, only)
    _finish(going.results, how)


@bench.command(short_help="On a GPU: matrix products, softmax, optimisers, ...")
@click.argument("asked", nargs=-1, metavar="[NAME[=SIZE]]...")
@common
def operations(asked, **how):
    """Matrix products, and what memory is the bound of, one at a time, on a GPU: matmul, softmax, softmax_backward, cross_entropy, relu, relu_backward, add, sgd, adam.

    All of them in their usual sizes, or those that you name, perhaps in a size of your own: matmul=MxNxK, softmax=NxC, relu=N (elements), sgd=N (parameters).
    Rivals: cuBLAS (matmul), cuDNN (softmax, relu), PyTorch (all).

    \b
    tinycnn bench operations matmul=512x512x512 softmax=64x10 --device cuda
    """
    from ..bench.operations import chosen
    if how["device"] == "cpu":
        raise click.UsageError("bench operations is about a GPU: give --device cuda (benchmarks/matmul.py measures matrix products on the CPU)")
    if how["batch"]:
        raise click.UsageError("bench operations has no --batch: sizes are given as softmax=128x1000")
    try:
        wanted = chosen(asked)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    going = _begin(how)
    going.operations(wanted)
    _finish(going.results, how)


@bench.command(short_help="Scores of whole networks.")
@sized
@common
def inference(models, image_size, options, **how):
    """Scores of whole networks, at batch 1 and 16 unless told otherwise."""
    _networks("inference", models, image_size, options, how, (1, 16))


@bench.command(short_help="A step of training: forward, backward and SGD.")
@sized
@common
def training(models, image_size, options, **how):
    """A step of training: forward, backward and SGD, at batch 16 unless told otherwise."""
    _networks("training", models, image_size, options, how, (16,))


@bench.command(short_help="Every distinct layer of a network by itself.")
@sized
@common
def layer(models, image_size, options, **how):
    """Every distinct layer of a network by itself, as in inference, and forward and backward as in training."""
    _networks("layer", models, image_size, options, how, (16,))


@bench.command(short_help="The most memory that a step of training takes.")
@sized
@common
def memory(models, image_size, options, **how):
    """The most memory that a step of training takes, in processes of their own (Linux)."""
    _networks("memory", models, image_size, options, how, (16,))


@bench.command(short_help="How long importing takes, and the first result.")
@sized
@common
def startup(models, image_size, options, **how):
    """How long it takes to start: importing, and the first result with nothing compiled and with everything compiled before. [default: resnet50]"""
    _networks("startup", models or ("resnet50",), image_size, options, how, (1,))


@bench.command()
@common
def machine(**how):
    """What this machine is and can do, and which libraries are here."""
    from ..bench.report import left_out, peaks
    going = _begin(how)
    for level in ("conv", "inference"):  # at one of them everybody is
        going.contestants(level, going.threads[0], going.places[0])
    going.results.skipped = {name: why for name, why in going.results.skipped.items() if name not in {row.split()[0] for row in going.results.contestants}}
    for name, value in going.results.environment.items():
        click.echo(f"{name.replace('_', ' '):17} {', '.join(f'{key} {entry}' for key, entry in value.items()) if isinstance(value, dict) else value}")
    click.echo("\n".join(peaks(going.results)) + "\n")
    for name, details in going.results.contestants.items():
        click.echo(f"{name:24} {details['version']}  {details['means']}")
    click.echo("\n".join(left_out(going.results)))
    _keep(going.results, how)


@bench.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE...")
@click.option("--markdown", type=click.Path(dir_okay=False), metavar="FILE", help="Write the tables as Markdown.")
@click.option("--plot", type=click.Path(file_okay=False), metavar="FOLDER", help="Draw them.")
def show(files, markdown, plot):
    """Results that were kept with --json, as tables and plots."""
    from pathlib import Path

    from ..bench.results import Results
    texts = []
    for file in files:
        try:
            results = Results.from_json(Path(file).read_text())
        except (ValueError, TypeError, KeyError) as error:
            raise click.ClickException(f"{file}: not what `tinycnn bench ... --json FILE` writes: {error}") from error
        texts.append(results)
        _finish(results, {"plot": plot and str(Path(plot, Path(file).stem) if len(files) > 1 else plot), "markdown": None, "json_file": None, "default_malloc": False})
    if markdown:
        _write_markdown(texts, markdown)


def _begin(how):
    """The Run of these options."""
    from .. import get_num_threads
    from ..bench.measure import Plan
    from ..bench.rivals import everybody
    from ..bench.run import Run
    quick = {"rounds": 3, "seconds": 0.05} if how["quick"] else {}
    asked = {name: how[name] for name in ("rounds", "seconds", "cache", "most_spread", "most_disturbed") if how[name] is not None}
    asked.setdefault("cache", "warm" if how["device"] == "cpu" else "cold")
    if how["device"] != "cpu":
        asked.setdefault("most_disturbed", 1.0)  # it computes whatever other processes do
        if how["default_malloc"]:
            raise click.UsageError("--default-malloc is about the CPU")
    elif how["maths"]:
        raise click.UsageError("--math is about a GPU: give --device cuda as well")
    rivals = everybody(how["device"]) if how["rivals"] is None else () if how["rivals"] == "none" else tuple(name.strip() for name in how["rivals"].split(","))
    return Run(Plan(**{**quick, **asked}), how["threads"] or (get_num_threads(),), rivals, lambda text: click.echo(f"... {text}", err=True), how["json_file"],
               how["device"], how["maths"] or ("fp32",))


def _places(how):
    from ..bench.rivals import Place
    return [Place()] if how["device"] == "cpu" else [Place(how["device"], math, how["cache"] != "warm") for math in how["maths"] or ("fp32",)]


def _batches(how, usual):
    return how["batch"] or ((1,) if how["quick"] else usual)


def _networks(level, models, image_size, options, how, batches):
    from ..bench import run
    if how["device"] != "cpu" and level in ("memory", "startup"):
        raise click.UsageError(f"bench {level} is about the CPU: it has no --device {how['device']}")
    going = _begin(how)
    going.networks(level, models or run.NETWORKS, _batches(how, batches), options, image_size or (None,))
    _finish(going.results, how)


def _list(sets):
    """sets: {name: layers}."""
    for name, layers in sets.items():
        click.echo(name)
        for layer in layers:
            cut = f" (published: {layer.published_N})" if layer.published_N and layer.published_N != layer.N else ""
            click.echo(f"  {layer.name:24} batch {layer.N}{cut}: {layer}, {layer.flops / 1e9:.3g} GFLOP" + (f", {layer.count} times" if layer.count > 1 else ""))


def _finish(results, how):
    """Print, keep, draw."""
    from ..bench.measure import NOISE
    from ..bench.plots import draw
    from ..bench.report import table
    from ..bench.run import with_default_malloc
    if how["default_malloc"]:
        with_default_malloc(results, sys.argv[1:])
    click.echo(table(results))
    if "most_spread" in how and any(row.refused.startswith(NOISE) for row in results.rows):
        click.echo("Figures are refused that other programs disturb: leave the machine alone meanwhile, or count more with --most-disturbed 1 --most-spread 1.", err=True)
    _keep(results, how)
    if how["plot"]:
        for path in draw(results, how["plot"]):
            click.echo(f"{path}")


def _keep(results, how):
    """Into the files that were asked for."""
    from ..train.files import replacing
    if how["json_file"]:
        with replacing(how["json_file"]) as part:
            part.write_text(results.to_json())
    if how["markdown"]:
        _write_markdown([results], how["markdown"])


def _write_markdown(several, path):
    from ..bench.report import table
    from ..train.files import replacing
    with replacing(path) as part:
        part.write_text("\n\n".join(table(results, markdown=True) for results in several) + "\n")
