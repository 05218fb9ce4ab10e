"""What is wrong with a wrong gradient: tests on the two Jacobians, each for one family of bugs."""


def diagnose(report, subject, rng):
    return []
