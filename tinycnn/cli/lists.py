"""`tinycnn models` and `tinycnn recipes`: what there is to choose from."""
import click

from .train import RECIPE


@click.command()
def models():
    """List the networks."""
    from ..models import NETWORKS
    _table((name, " ".join(network.__doc__.split()).partition(". ")[0].rstrip(".")) for name, network in NETWORKS.items())


@click.command()
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
