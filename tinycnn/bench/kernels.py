"""One convolution at a time: forward, input gradient, weight gradient of every contestant on the layers of a set."""
from . import truth
from .measure import alternate, timer_for
from .results import Row, compare, timed
from .rivals import Place, Unsupported
from .validate import allowed, draw, error


def measure_layers(contestants, group, layers, results, forms, plan, threads, tell=lambda text: None):
    """Add the rows of all `layers` (of the set called `group`) to the results, pass by pass."""
    for layer in layers:
        arrays = draw(layer)
        prepared = prepare(contestants, layer, arrays, results, tell)
        for form in forms:
            runs = {contestant: functions[form] for contestant, functions in prepared.items() if form in functions}
            tell(f"{group} {layer.name} {form}")
            math = next((contestant.place.math for contestant in runs), "")
            results.rows += measure_form(runs, group, layer, form, arrays, results.peak(threads, math), plan, threads)


def prepare(contestants, layer, arrays, results, tell):
    """{contestant: {form: function}} of those that can do this layer."""
    prepared = {}
    for contestant in contestants:
        try:
            with contestant.running():
                prepared[contestant] = contestant.conv(layer, *arrays)
        except Unsupported as reason:
            results.skipped[f"{contestant.name} on {layer.name}"] = str(reason)
        except Exception as failure:  # another library's: it must not stop the others
            results.skipped[f"{contestant.name} on {layer.name}"] = f"{type(failure).__name__}: {failure}"
    return prepared


def measure_form(runs, group, layer, form, arrays, peak, plan, threads):
    """The rows of one pass: every answer is checked against float64, then all are timed, then every answer is checked again."""
    place = next((contestant.place for contestant in runs), Place())
    expected = truth.kept(lambda: truth.answers(*arrays, layer, [form], None if place.device == "cpu" else truth.threads_for(place, threads))[form], layer, form)
    note = f"batch {layer.N} of {layer.published_N}" if layer.published_N and layer.published_N != layer.N else ""
    rows, right = {}, {}
    for contestant, run in runs.items():
        row = Row("conv", group, layer.name, form, contestant.name, contestant.library, layer.N, threads, plan.cache, count=layer.count, note=note,
                  math=place.math, choice=getattr(run, "choice", ""))
        rows[contestant.name] = row
        try:
            row.error = answer_error(contestant, run, expected)
        except NotImplementedError as reason:
            row.refused = f"not implemented: {reason}"
        else:
            row.refused = verdict(row.error, layer.length(form), math=place.math)
        if not row.refused:
            right[contestant.name] = contestant, run
    samples = alternate({name: run for name, (_, run) in right.items()}, plan, {name: contestant.running for name, (contestant, _) in right.items()},
                        timer=timer_for(place, plan))
    clocks = clocks_of(place)
    for name, (contestant, run) in right.items():
        row = timed(rows[name], samples[name], peak, plan, layer.flops, layer.bytes)
        row.error_after, row.clocks = answer_error(contestant, run, expected), clocks
        row.refused = row.refused or verdict(row.error_after, layer.length(form), " after the timing", place.math)
    compare(list(rows.values()), samples)
    return list(rows.values())


def answer_error(contestant, run, expected):
    with contestant.running():
        return error(contestant.array(run()), expected)


def clocks_of(place):
    """At what clocks a GPU runs at this moment; nothing for the CPU."""
    if place.device == "cpu":
        return {}
    from .gpu import clocks
    return clocks()


def verdict(off, length, when="", math="fp32"):
    """Why an answer with this error does not count, or nothing."""
    return "" if off <= allowed(length, math) else f"wrong{when}: off by {off:.2g} sigma, at most {allowed(length, math):.1g} is rounding"
