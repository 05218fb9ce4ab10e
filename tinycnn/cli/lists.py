"""`tinycnn models` and `tinycnn recipes`: what there is to choose from."""
from inspect import getdoc, signature

import click

from .train import MODEL, RECIPE


@click.command(short_help="List the networks, or the options of one.")
@click.argument("name", type=MODEL, required=False)
def models(name):
    """List the networks; with NAME, describe that one and show its options."""
    from ..models import NETWORKS
    if name:
        options = signature(NETWORKS[name]).parameters.values()
        click.echo(f"{getdoc(NETWORKS[name])}\n\noptions, as in `tinycnn train {name} -o NAME=VALUE`, and what they are unless given:")
        click.echo("\n".join(f"    {option}" for option in options))
        return
    _table((name, " ".join(network.__doc__.split()).partition(". ")[0].rstrip(".")) for name, network in NETWORKS.items())


@click.command(short_help="List the training recipes, or all that is in one.")
@click.argument("name", type=RECIPE, required=False)
def recipes(name):
    """List the training recipes; with NAME, show everything in that one."""
    from ..train import recipes
    if name:
        click.echo(recipes.describe(recipes.get(name)))
    else:
        _table((name, str(recipe)) for name, recipe in recipes.RECIPES.items())


def _table(rows):
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name:{width}}  {text}")
