"""`tinycnn lecture`: the claims of a lecture on AlexNet, VGG, GoogLeNet and ResNet, each tried out."""
from pathlib import Path

import click

from .names import Name


def _names():
    from ..lecture import NAMES
    return (*NAMES, "all")


@click.command(short_help="Try out the claims of a lecture on AlexNet to ResNet.")
@click.argument("names", type=Name("claim", _names, "lecture"), metavar="[NAME]...", nargs=-1)
@click.option("--quick", "mode", flag_value="quick", help="Ends within two minutes on two cores.")
@click.option("--full", "mode", flag_value="full", help="As much as the paper's protocol takes: hours. [default: within fifteen minutes]")
@click.option("--data", metavar="FOLDER", default="bundled", show_default=True, help="Images for what is trained: MNIST, Fashion-MNIST or CIFAR-10.")
@click.option("--seeds", type=click.IntRange(1), help="How often to train each network, with the seeds 0, 1, ... [default: the claim's]")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for results. [default: runs/lecture/NAME-quick, ...]")
@click.option("--fresh", is_flag=True, help="Forget the results in that folder; else what is there is not computed again.")
@click.option("--threads", type=click.IntRange(1), help="Processor cores to use; the results are the same for any number. [default: all]")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def lecture(context, names, mode, data, seeds, out, fresh, threads, quiet):
    """Try out claims of a lecture on AlexNet, VGG, GoogLeNet and ResNet. Without NAME, list them.

    \b
    tinycnn lecture                     the thirteen claims
    tinycnn lecture vgg                 one of them: what slides and paper say, what is found here
    tinycnn lecture relu --quick        one that trains networks, in less than two minutes
    tinycnn lecture relu --seeds 5      with more seeds; what was computed is not computed again
    tinycnn lecture all --quick         all of them

    \b
    In the folder:
    results.jsonl   a line for each network trained or number computed; all else is made from it
    plot.png        report.html

    \b
    Ctrl-C stops; the same command goes on, within a training run too.
    """
    from .. import lecture as claims
    from ..lecture.claim import Plan
    names = claims.NAMES if "all" in names else names
    if not names:
        _list(claims)
        return
    if out and len(names) > 1:
        raise click.UsageError("--out is the folder of one claim; several claims have a folder each", context)
    if threads is not None:
        from .. import set_num_threads
        set_num_threads(threads)
    plan = Plan(mode or "default", data if data == "bundled" else str(Path(data).absolute()), seeds)
    for name in names:
        _show(claims, name, plan, Path(out or f"runs/lecture/{name}-{plan.mode}"), fresh, quiet)


def _list(claims):
    width = max(map(len, claims.NAMES))
    for number, name in enumerate(claims.NAMES, 1):
        click.echo(f"{number:2}. {name:{width}}  {claims.find(name).TITLE}")
    click.echo("\n`tinycnn lecture NAME` tries one out; --quick takes less than two minutes.")


def _show(claims, name, plan, folder, fresh, quiet):
    """One claim, from quotation to verdict."""
    from ..lecture import report, runner
    from ..train import Interrupted
    claim, number = claims.find(name), claims.NAMES.index(name) + 1
    click.echo(report.introduction(number, name, claim))
    if fresh:
        runner.forget(folder)
    progress = runner.Bars(quiet)
    try:
        rows = runner.run(claim, plan, folder, progress)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; what is finished is in {folder}, and the same command goes on from there") from None
    answer = claim.report(rows)
    report.write(folder, number, name, claim, rows, answer)
    click.echo(f"{report.conclusion(answer)}\nin {folder}: results.jsonl, plot.png, report.html\n")
