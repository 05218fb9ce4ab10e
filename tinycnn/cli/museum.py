"""`tinycnn museum`: wrong gradients that happened, as exercises."""
import sys

import click

from .names import Commands, Name


def known():
    from ..museum import names
    return names()


EXHIBIT = Name("exhibit", known, "museum")


@click.group(cls=Commands, invoke_without_command=True, short_help="Wrong gradients of well-known projects, to be repaired.")
@click.pass_context
def museum(context):
    """A museum of wrong gradients: real bugs, most of them historical, to look at and to repair.

    \b
    tinycnn museum                    the list
    tinycnn museum show col2im        its story, where it was seen, and the code
    tinycnn museum take col2im        a file to repair: col2im.py
    tinycnn museum check col2im.py    is it right by now? If not: where, how, and why
    tinycnn museum solution col2im    how it should be
    tinycnn museum rates              how many bugs the checker catches and names, and how many repairs it accepts
    """
    if context.invoked_subcommand is None:
        from ..museum import exhibit, names
        exhibits = [exhibit(name) for name in names()]
        width = max(len(each.name) for each in exhibits)
        for each in exhibits:
            click.echo(f"{each.name:{width}}  {each.title}")
        click.echo(f"\n{len(exhibits)} exhibits. `tinycnn museum show NAME` shows one, `tinycnn museum take NAME` lets you repair it.")


@museum.command(short_help="Show an exhibit: its story, and the code with the bug.")
@click.argument("name", type=EXHIBIT)
def show(name):
    """Show an exhibit: its story, where it was seen, and the code with the bug."""
    from ..museum import exhibit
    click.echo(exhibit(name).code.rstrip())


@museum.command()
@click.argument("name", type=EXHIBIT)
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="The file to write. [default: NAME.py]")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def take(name, output, force):
    """Write an exhibit into a file, to be repaired."""
    from pathlib import Path

    from ..museum import exercise
    from ..train.files import replacing
    path = Path(output or f"{name}.py")
    if path.exists() and not force:
        raise click.ClickException(f"{path} is there already; --force writes over it, -o FILE takes another name")
    with replacing(path) as part:
        part.write_text(exercise(name))
    click.echo(f"{path}: repair its backward, then `tinycnn museum check {path}`")


@museum.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--shapes", type=click.IntRange(1), default=10, show_default=True, help="Random shapes to try.")
def check(file, shapes):
    """Check a repaired exhibit, over random shapes. Exit status 1 if its gradient is still wrong."""
    from ..museum import check_exercise
    here, reports = check_exercise(file, shapes)
    if all(reports):
        click.echo(f"{here.name}: {click.style('repaired', fg='green')}, right at {len(reports)} random shapes. It was: {here.family}.")
        return
    click.echo(f"{reports[-1]}\n\n{here.name}: not right yet ({len(reports) - 1} random shapes were)")
    sys.exit(1)


@museum.command(short_help="Show how an exhibit should be, and what the bug is called.")
@click.argument("name", type=EXHIBIT)
def solution(name):
    """Show the repaired backward of an exhibit, and what the bug is called."""
    from .. import museum as collection
    click.echo(f"{collection.solution(name).rstrip()}\n\nfamily: {collection.exhibit(name).family}")


@museum.command(short_help="How many bugs the checker catches, names and accepts repaired.")
@click.argument("names", nargs=-1, type=EXHIBIT, metavar="[NAME]...")
@click.option("--shapes", type=click.IntRange(1), default=20, show_default=True, help="Random shapes of each exhibit.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the shapes and numbers.")
def rates(names, shapes, seed):
    """Measure the checker at the exhibits: bugs caught, families named, repairs accepted. Exit status 1 if any rate is below 100%."""
    from tqdm import tqdm

    from .. import museum as collection
    names = names or collection.names()
    found = []
    for name in tqdm(names, desc="exhibits", leave=False, disable=None):
        found.append(collection.rates(name, shapes, seed))
        r = found[-1]
        tqdm.write(f"{name:26} {r.family:26} caught {r.caught:3} of {shapes}, named {r.named:3}, repaired accepted {r.accepted:3}"
                   + (f"   also called: {', '.join(r.others)}" if r.others else ""))
    total = shapes * len(found)
    caught, named, accepted = (sum(getattr(r, what) for r in found) for what in ("caught", "named", "accepted"))
    click.echo(f"\n{len(found)} exhibits, {shapes} random shapes each: {caught / total:.1%} of the wrong gradients caught, {named / total:.1%} named as the right "
               f"family; {accepted / total:.1%} of the right ones accepted")
    sys.exit(0 if caught == named == accepted == total else 1)
