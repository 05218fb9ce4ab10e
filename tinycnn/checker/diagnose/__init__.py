"""What is wrong with a wrong gradient: tests on the two Jacobians, each for one family of bugs.

A test is a function of an Evidence (what the backward says beside what was measured) that gives a Finding where the data have its pattern, and None otherwise. None
looks at the name of a function. They are tried from the most specific to the most general, and the first that holds is the likely bug:

    whole.py        the whole gradient: missing, negative, times a number, times numbers that vary along an axis or with the value
    orders.py       its axes: transposed, flipped, shifted; the Jacobian where its transpose belongs
    links.py        which weight met which input: stride, dilation, padding, flip, groups, read from the Jacobian of anything bilinear
    patterns.py     which entries are missing or too many: overwritten instead of added up, the diagonal alone, mixed groups
    terms.py        a term of the formula: what is missing is constant, or proportional to the input or the output, over some axes
    places.py       where: borders, leftover rows, only some batch items or channels, beyond a threshold
"""
from . import links, orders, patterns, places, terms, whole

TESTS = (whole.missing, whole.negative, whole.times_a_number, orders.transposed, orders.flipped, links.geometry, orders.not_the_adjoint,
         patterns.overwritten, patterns.groups, patterns.skipped_path, patterns.diagonal_alone, places.leftover, whole.times_a_field, whole.function_of_the_input,
         patterns.foreign_factor, patterns.scaled_term, orders.shifted, terms.term, places.threshold, places.part, places.borders, whole.chain_rule, links.raw_value)


def diagnose(report, subject, rng):
    """[Finding] for each input that was looked at element by element and found wrong: the first test that holds."""
    found = []
    for (k, _), part in sorted(report.evidence.items(), key=lambda item: item[0]):
        if part.wrong.any():
            finding = next(filter(None, (test(part) for test in TESTS)), None)
            if finding is not None and finding.family == "factor":
                finding = whole.batch_or_not(finding, part, subject, k, rng)
            if finding is not None:
                found.append(finding)
    return found
