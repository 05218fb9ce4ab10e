"""`tinycnn train`: train a network."""
import sys

import click

from .info import compiled_kernels
from .names import Name


def _models():
    from ..models import names
    return names()


def _recipes():
    from ..train.recipes import names
    return names()


def _optimizers():
    from ..train.build import OPTIMIZERS
    return OPTIMIZERS


PYTHON_WORDS = {"None": None, "True": True, "False": False}
MODEL, RECIPE, OPTIMIZER = Name("model", _models), Name("recipe", _recipes), Name("optimizer", _optimizers)
DEVICE = click.Choice(["cpu", "cuda"])


def key_value(context, parameter, values):
    """{"dropout": 0.5} from ("dropout=0.5",); values are read as JSON or None, True, False where they are, else as text."""
    import json
    options = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} should be NAME=VALUE", context, parameter)
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = PYTHON_WORDS.get(value, value)
    return options


@click.command(short_help="Train a network: by default LeNet-5 on the bundled images.")
@click.argument("model", type=MODEL, required=False)
@click.option("--data", metavar="FOLDER", help="Images: MNIST, Fashion-MNIST, CIFAR-10/100 or folders of images by class. [default: bundled, a part of Fashion-MNIST]")
@click.option("--recipe", type=RECIPE, metavar="NAME", help="How to train; `tinycnn recipes` lists them. [default: the quick one for this network]")
@click.option("--epochs", type=click.IntRange(1), help="How often to go through all images. [default: the recipe's]")
@click.option("--batch-size", type=click.IntRange(1), help="Images in each step. [default: the recipe's]")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate at the start of its schedule. [default: the recipe's]")
@click.option("--optimizer", type=OPTIMIZER, metavar="NAME", help="SGD, Adam, AdamW or RMSprop. [default: the recipe's]")
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), help="Of SGD or RMSprop. [default: the recipe's]")
@click.option("--weight-decay", type=click.FloatRange(0), help="[default: the recipe's]")
@click.option("--label-smoothing", type=click.FloatRange(0, 1), help="[default: the recipe's]")
@click.option("--no-augment", is_flag=True, help="Train on the images as they are tested: no random crops, flips, colours.")
@click.option("--width", type=click.FloatRange(0, min_open=True), help="Times the channels of every layer: 0.25 makes a small network. [default: the recipe's, or 1]")
@click.option("--image-size", type=click.IntRange(1), help="Height and width that images are brought to. [default: the data's, or the published network's]")
@click.option("-o", "--option", "options", multiple=True, callback=key_value, metavar="NAME=VALUE",
              help="An option of the network, such as dropout=0 or init=he; may be repeated. `tinycnn models MODEL` shows them all.")
@click.option("--seed", type=click.IntRange(0), help="Of all random numbers: the same seed gives the same bits. [default: 0]")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for the run. [default: runs/MODEL-1, -2, ...]")
@click.option("--resume", type=click.Path(file_okay=False), metavar="FOLDER", help="Continue the run in this folder, as if it had never stopped.")
@click.option("--checkpoint-every", type=click.IntRange(1), default=1000, show_default=True,
              help="Steps between checkpoints within an epoch; there is one after each epoch too.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Threads that prepare images; useful for photographs.")
@click.option("--threads", type=click.IntRange(1), help="Processor cores to use; the results are the same for any number. [default: all]")
@click.option("--device", type=DEVICE, default="cpu", show_default=True, help="Where to compute: cuda is an NVIDIA GPU, or with TINYCNN_CUDA=simulate its simulation.")
@click.option("--distributed", is_flag=True, help="Share each batch among the processes that `mpirun -n N tinycnn train ... --distributed` starts; needs MPI. "
              "The result is that of one process, except that BatchNorm uses the statistics of each process's share.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the final accuracy.")
@click.pass_context
def train(context, threads, distributed, quiet, **asked):
    """Train MODEL (default: lenet5) and leave checkpoints, metrics and a plot in a run folder.

    \b
    tinycnn train                                     LeNet-5 on the bundled images
    tinycnn train resnet20 --epochs 20 --seed 1       a ResNet, longer
    tinycnn train vgg11 --width 0.25 --image-size 32  a narrow VGG on small images
    tinycnn train alexnet --data imagenet --recipe alexnet --workers 4
                                                      the paper's network, the paper's recipe
    tinycnn train --optimizer Adam --lr 0.001         another optimiser
    tinycnn train --resume runs/lenet5-1              go on after Ctrl-C or a crash
    mpirun -n 2 tinycnn train --distributed           two processes, half of each batch each (docs/distributed.md)

    \b
    In the run folder:
    config.json        every setting         metrics.jsonl      a JSON line per epoch, and per 50 steps
    curves.png         loss and accuracy     best.safetensors   the network of the best epoch
    last.safetensors   the whole state, to resume from

    \b
    Ctrl-C stops after the current step and saves. `tinycnn models` and `tinycnn recipes` list what there is.
    """
    from ..distributed.data_parallel import Alone, DataParallel
    from ..train import Interrupted
    if threads is not None:
        from .. import set_num_threads
        set_num_threads(threads)
    if not distributed:
        _train(context, Alone(), quiet=quiet, **asked)
        return
    if asked["device"] != "cpu":
        raise click.UsageError(f"--distributed exchanges gradients between processes on the CPU; --device {asked['device']} is for a single process", context)
    from ..distributed.launch import communicator, ending_together, share_threads
    comm = communicator()
    with ending_together(comm, agreed=Interrupted):
        if threads is None:
            share_threads(comm)
        try:
            _train(context, DataParallel(comm), quiet=quiet, **asked)
        except Interrupted:
            if comm.rank == 0:
                raise
            sys.exit(130)  # one message is enough


def _train(context, processes, model, resume, out, checkpoint_every, workers, device, quiet, **asked):
    """The run, in one of several processes or in the only one."""
    from ..train import begin, configure
    from ..train import resume as resume_run
    from ..train.progress import Progress
    how = {"progress": Progress(quiet or not processes.is_first), "workers": workers, "checkpoint_every": checkpoint_every, "processes": processes,
           "device": device}
    if resume:
        _refuse(context, "--resume continues a run with its own settings", {"model": model, "out": out, **asked})
        trainer = resume_run(resume, **how)
    else:
        trainer = begin(processes.from_first(lambda: configure(**_arguments(model, asked))), out, **how)
    _announce(trainer, resume)
    test = trainer.run()
    if processes.is_first:
        _report(trainer, test, quiet)


def _refuse(context, why, values):
    """Options that make no sense together."""
    given = [name for name, value in values.items() if value not in (None, False, {})]
    if given:
        raise click.UsageError(f"{why}; {', '.join(name if name == 'model' else '--' + name.replace('_', '-') for name in given)} cannot be changed", context)


def _arguments(model, asked):
    """The arguments of `configure`."""
    optimizer_options = {name: asked[name] for name in ("momentum", "weight_decay") if asked[name] is not None}
    width = {} if asked["width"] is None else {"width": asked["width"]}
    chosen = {name: asked[name] for name in ("recipe", "epochs", "batch_size", "lr", "label_smoothing", "optimizer", "image_size")}
    return {**chosen, "model": model or "lenet5", "data": asked["data"] or "bundled", "seed": asked["seed"] or 0, "augment": not asked["no_augment"],
            "optimizer_options": optimizer_options, "model_options": {**asked["options"], **width}}


def _announce(trainer, resumed):
    """What is about to happen, in a few lines."""
    config, recipe, say = trainer.config, trainer.config["recipe"], trainer.progress.say
    C, size = config["model_options"]["in_channels"], config["model_options"]["image_size"]
    say(f"{config['model']}: {sum(parameter.numel() for parameter in trainer.model.parameters()):,} parameters, images of {C}x{size}x{size}")
    say(f"data: {config['data']}, {config['images']['train']:,} images to train on, {config['images']['test']:,} to test, {len(config['classes'])} classes")
    say(f"recipe: {recipe['name']}, {config['epochs']} epochs, batches of {recipe['batch_size']}, {recipe['optimizer']} with lr {recipe['lr']:g}; seed {config['seed']}")
    if trainer.processes.size > 1:
        say(trainer.processes.describe(recipe["batch_size"]))
    say(f"run folder: {trainer.folder}{_where(trainer) if resumed else ''}")
    if not compiled_kernels():
        say("first run: kernels are compiled when they are first called, and kept; this can take a minute")


def _where(trainer):
    """Where a resumed run stands."""
    if trainer.epoch == trainer.epochs:
        return f", which is finished: all {trainer.epochs} epochs are done"
    return f", resumed in epoch {trainer.epoch + 1} at batch {trainer.batch + 1}"


def _report(trainer, test, quiet):
    """How it ended."""
    click.echo(f"test accuracy: {test.top1:.2%} (top-5 {test.top5:.2%})" + (f"; best epoch {trainer.best:.2%}" if trainer.best > test.top1 else ""))
    if not quiet:
        click.echo(f"next:  tinycnn evaluate {trainer.folder}\n       tinycnn predict 0 -c {trainer.folder}")
