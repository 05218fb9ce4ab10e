"""`tinycnn gradcheck`: is a backward the derivative of its forward?"""
import json
import math
import sys

import click

WRONG, UNKNOWN = 1, 3  # exit statuses


@click.command(short_help="Check gradients: the engine's, or your own.")
@click.argument("targets", nargs=-1, metavar="[FILE.py | NAME]...")
@click.option("--mode", type=click.Choice(["auto", "fast", "full"]), default="auto", show_default=True,
              help="fast: one random projection. full: every element. auto: fast, and element by element where that finds something.")
@click.option("--order", type=click.Choice(["1", "2"]), help="2: the gradients of the gradients as well. [default: 2 for the engine, 1 for a file]")
@click.option("--rtol", type=click.FloatRange(0), default=1e-7, show_default=True, help="Relative error that is allowed, beside what the measurement may be off.")
@click.option("--shapes", type=click.IntRange(1), default=10, show_default=True, help="How often the inputs of a file's functions are drawn.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all random numbers.")
@click.option("--plot", type=click.Path(file_okay=False), metavar="FOLDER", help="Draw what is wrong: error over the tensor, against the step, and along one coordinate.")
@click.option("--list", "listing", is_flag=True, help="Show what would be checked.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def gradcheck(targets, mode, order, rtol, shapes, seed, plot, listing, as_json):
    """Check gradients: of every operation and layer of this engine, of those with NAME in their name, or of your own functions in FILE.py.

    Where a gradient is wrong you read where, how, and what usually causes that. Exit status: 0 all right, 1 a gradient is wrong, 3 some could not be told.

    \b
    tinycnn gradcheck                    all operations, layers and blocks
    tinycnn gradcheck pool conv2d        those with one of these in their name
    tinycnn gradcheck my_layer.py        your own, a file with
        def inputs(rng): return rng.standard_normal((2, 3, 7, 8)), rng.standard_normal((4, 3, 3, 3)), 2
        def forward(x, w, stride): ...
        def backward(dy, x, w, stride): ...       -> a gradient for each array

    docs/gradcheck.md has an example from beginning to end, and all conventions.
    """
    options = {"mode": mode, "rtol": rtol, "seed": seed, "progress": not as_json}
    files = [target for target in targets if target.endswith(".py")]
    names = [target for target in targets if not target.endswith(".py")]
    rows, shown = [], []
    if names or not files:
        rows += engine(names, int(order or 2), options, listing, as_json)
        shown += [report for _, report in rows]
    for file in files:
        for runs in of_file(file, int(order or 1), shapes, options, listing, as_json):
            rows += [(f"{run.task.name}{f', {run.case}' if run.case else ''}", run.report) for run in runs]
            shown.append(telling(runs).report)
    if listing:
        return
    if plot:
        draw(shown, plot, as_json)
    if as_json:
        click.echo(json.dumps([{**report.to_dict(), "name": name} for name, report in rows], indent=2))
    verdicts = {report.verdict for _, report in rows}
    if not as_json:
        click.echo(f"{len(rows)} checked: " + ", ".join(f"{sum(r.verdict == v for _, r in rows)} {v}" for v in ("right", "wrong", "cannot tell") if v in verdicts))
    sys.exit(WRONG if "wrong" in verdicts else UNKNOWN if "cannot tell" in verdicts else 0)


def engine(names, order, options, listing, quiet):
    """[(name, Report)] of the engine's own, those with one of the names in theirs."""
    from tqdm import tqdm

    from ..checker.cases import all_cases
    from ..names import nearest
    cases = [case for case in all_cases() if not names or any(name in str(case) for name in names)]
    for name in names:
        if not any(name in str(case) for case in cases):
            words = {word for case in all_cases() for word in str(case).replace(":", "").replace(",", "").split()}
            raise click.UsageError(f"nothing has {name!r} in its name{nearest(name, words)} (`tinycnn gradcheck --list` shows all {len(all_cases())})")
    if listing:
        click.echo("\n".join(map(str, cases)))
        return []
    rows = []
    for case in tqdm(cases, desc="gradients", leave=False, disable=True if quiet else None):
        report = case.check(order=order, **{**options, "progress": False})
        rows.append((str(case), report))
        if not quiet:
            with tqdm.external_write_mode():  # above the bar; click leaves out colours where nobody sees them
                click.echo(line(str(case), report))
    return rows


def of_file(file, order, shapes, options, listing, quiet):
    """For each function in a file the list of its Runs."""
    from ..checker import files
    for task in files.load(file):
        if listing:
            click.echo(f"{file}: {task.name}")
            continue
        runs = list(files.check(task, shapes, order=order, **options))
        if not quiet:
            tell(task, runs, files.separating(runs))
        yield runs


def telling(runs):
    """The Run to look at: of the wrong ones that with the smallest inputs, else of those that are not right, else of all."""
    for chosen in ([run for run in runs if run.report.verdict == "wrong"], [run for run in runs if not run.report], runs):
        if chosen:
            return min(chosen, key=lambda run: sum(math.prod(getattr(value, "shape", (0,))) for value in run.given))
    return None


def tell(task, runs, separators):
    """A task's result: in a line if all is right, else with the whole report of the smallest inputs that show the error."""
    smallest = telling(runs)
    if smallest.report:
        click.echo(line(task.name, runs[0].report) + (f", at {len(runs)} sets of inputs" if len(runs) > 1 else ""))
        return
    alike = [run for run in runs if run.report.verdict == smallest.report.verdict]
    click.echo(f"{task.name}: {smallest.report.verdict} at {len(alike)} of {len(runs)} sets of inputs" + "".join(f"; {text}" for text in separators) + (
        f"; the smallest{f' ({smallest.case})' if smallest.case else ''}:" if len(alike) > 1 else ":"))
    click.echo("\n" + str(smallest.report) + "\n")


def line(name, report):
    """One row of the table."""
    colour = {"right": "green", "wrong": "red"}.get(report.verdict, "yellow")
    digits = [r.digits for r in report.inputs if r.digits is not None]
    text = f"{min(digits):.0f} digits" if digits and report else report.family or next((r.reason for r in report.inputs if r.verdict != "right"), "")
    kinks = f", {len(report.kinks)} kinks" if report.kinks else ""
    return f"{name:62} {click.style(f'{report.verdict:11}', fg=colour)} {text}{kinks}"


def draw(reports, folder, aside):
    """Pictures of everything that is not right, or of the first report if all is; their names are printed (aside: to stderr)."""
    chosen = [report for report in reports if not report] or reports[:1]
    for i, report in enumerate(chosen):
        for path in report.plot(folder if len(chosen) == 1 else f"{folder}/{i}"):
            click.echo(path, err=aside)
