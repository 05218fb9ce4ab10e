"""When which scheduler steps: some count steps, some epochs, and one looks at the test accuracy."""
from ..optim.lr_scheduler import ReduceLROnPlateau


class Schedule:
    """schedulers: [(scheduler of tinycnn.optim.lr_scheduler, "step" or "epoch")]. Their factors multiply."""

    def __init__(self, schedulers):
        self.schedulers = schedulers

    def after_step(self):
        self._advance("step")

    def after_epoch(self, test):
        """test: the Score of the epoch."""
        self._advance("epoch", test.top1)

    def _advance(self, what, accuracy=None):
        for scheduler, every in self.schedulers:
            if every == what:
                scheduler.step(*[accuracy] if isinstance(scheduler, ReduceLROnPlateau) else [])

    def state_dict(self):
        return [scheduler.state_dict() for scheduler, _ in self.schedulers]

    def load_state_dict(self, state):
        for (scheduler, _), saved in zip(self.schedulers, state, strict=True):
            scheduler.load_state_dict(saved)
