"""Random numbers held still: what is drawn in one evaluation is drawn again in the next.

A dropout mask that changes between f(x + h) and f(x - h) makes a difference of 1/h out of nothing. So before each evaluation all generators that can be reached are
put back to where they were: tinycnn's, NumPy's and Python's global ones, and every numpy.random.Generator or RandomState among the inputs. A generator that hides
elsewhere cannot be held; the check then finds two evaluations at the same point that differ, and says so.
"""
import pickle
import random

import numpy as np

from .. import random as engine


class Draws:
    """The state of all generators at one moment."""

    def __init__(self, inputs):
        self.generators = [value for value in inputs if isinstance(value, (np.random.Generator, np.random.RandomState))]
        self.states = self.now()
        self.idle = False  # whether the function is known to draw nothing, so that there is nothing to restore

    def now(self):
        own = [value.bit_generator.state if isinstance(value, np.random.Generator) else value.get_state() for value in self.generators]
        return engine.get_rng_state(), np.random.get_state(), random.getstate(), own

    def moved(self):
        """Whether anything was drawn since the start."""
        return pickle.dumps(self.now()) != pickle.dumps(self.states)

    def restore(self):
        """Back to where they were at the start."""
        if self.idle:
            return
        ours, numpys, pythons, own = self.states
        engine.set_rng_state(ours)
        np.random.set_state(numpys)
        random.setstate(pythons)
        for value, state in zip(self.generators, own):
            if isinstance(value, np.random.Generator):
                value.bit_generator.state = state
            else:
                value.set_state(state)
