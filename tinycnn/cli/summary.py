"""`tinycnn summary`: what a network consists of."""
import click

from .train import MODEL, key_value


@click.command(short_help="A network's layers: output, parameters, multiply-adds.")
@click.argument("model", type=MODEL)
@click.option("--num-classes", type=click.IntRange(1), help="[default: the published network's]")
@click.option("--in-channels", type=click.IntRange(1), help="Channels of the images. [default: the published network's]")
@click.option("--image-size", type=click.IntRange(1), help="Height and width of the images. [default: the published network's]")
@click.option("--width", type=click.FloatRange(0, min_open=True), help="Times the number of channels of every layer. [default: 1]")
@click.option("-o", "--option", "options", multiple=True, callback=key_value, metavar="NAME=VALUE",
              help="An option of the network; may be repeated. `tinycnn models MODEL` shows them all.")
@click.option("--training", is_flag=True, help="As it trains: with what runs only then, such as GoogLeNet's auxiliary classifiers.")
@click.option("--explain", is_flag=True, help="Show the arithmetic too: formulas with the numbers put in, the receptive field's growth, comparisons.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs: params, macs, layers, ...")
def summary(model, options, training, explain, as_json, **sizes):
    """Show the layers of MODEL: output, parameters, multiply-adds, receptive field and memory for one image.

    \b
    tinycnn summary vgg16
    tinycnn summary resnet50 -o shortcut=C
    tinycnn summary googlenet --training
    tinycnn summary alexnet --explain
    tinycnn summary alexnet --width 0.25 --image-size 64 --json
    """
    from .. import models, nn
    from ..tools import summary as summarise
    options |= {name: value for name, value in sizes.items() if value is not None}
    C, size, _ = models.default_input(model)
    with nn.init.skip():  # only shapes are looked at
        network = models.build(model, **options)
    result = summarise(network.train(training), (options.get("in_channels", C), *[options.get("image_size", size)] * 2))
    if as_json:
        click.echo(result.to_json(explain, indent=2))
    else:
        click.echo(f"{result}\n\n{result.explain()}" if explain else str(result))
