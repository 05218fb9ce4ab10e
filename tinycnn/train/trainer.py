"""The training loop.

For each batch: what does the network say, how wrong is it, which way is better for every weight, a step that way. All else in this file is book-keeping around
`train_epoch`: what to remember so that a run that stops at any moment can go on as if it had not.

That needs four things. Nothing may depend on when something happens: the order of the images and their augmentation follow from (seed, epoch, index), dropout from
(seed, call). Everything that changes is in the checkpoint. A checkpoint is written between two steps, whole or not at all. And whatever was written after it to the
metrics is cut off when the run resumes.
"""
import time
from functools import partial
from pathlib import Path

import numpy as np

from ..distributed.data_parallel import Alone
from ..random import get_rng_state, set_rng_state
from .captured import CapturedGradients, compute_gradients
from .checkpoint import restore, save
from .diagnose import NotFiniteError, diagnose, finite, gradients_finite
from .evaluate import probabilities, score
from .interrupt import Interrupted, StopRequest
from .metrics import Average, Log
from .plot import plot_curves

PLACE = ("epoch", "batch", "step", "seconds", "lr", "best", "metrics_length")
PLOT_SECONDS = 20  # the plot is drawn at the end, and after every epoch that took longer than this


class Trainer:
    """Trains `model` for `epochs` epochs; keeps checkpoints, metrics and a plot in the run folder `folder`.

    loss_function   (model output, labels) -> (loss, logits)
    schedule        changes the learning rate: schedule.after_step(), schedule.after_epoch(test score)
    loaders         train_loader and test_loader, of tinycnn.data
    config          what was asked for, as plain values; stored in every checkpoint
    progress        is told what happens (see progress.py)
    average         a WeightAverage whose network is tested instead of `model`, or None
    checkpoint_every    steps between checkpoints within an epoch; there is one after each epoch in any case
    processes       those that share the work (distributed/data_parallel.py); each has a Trainer, and the first one's keeps the files
    capture         whether one process repeats what it has captured (captured.py), or calls forward and backward in Python in every step
    """

    def __init__(self, model, loss_function, optimizer, schedule, train_loader, test_loader, epochs, folder, config, progress, average=None,
                 checkpoint_every=1000, log_every=50, processes=None, capture=True):
        self.model, self.loss_function, self.optimizer, self.schedule = model, loss_function, optimizer, schedule
        self.train_loader, self.test_loader, self.epochs = train_loader, test_loader, epochs
        self.folder, self.config, self.progress = Path(folder), config, progress
        self.weight_average, self.checkpoint_every, self.log_every = average, checkpoint_every, log_every
        # Where the run stands. Epochs and batches count from 0, and are those that come next; the average and the seconds are this epoch's
        self.epoch, self.batch, self.step, self.seconds, self.average = 0, 0, 0, 0.0, Average()
        self.lr = self.learning_rate  # that of the last step
        self.best = -1.0  # test accuracy
        self.stop = StopRequest()
        self.processes = processes or Alone()
        self.processes.prepare(model)
        self.gradients = (CapturedGradients(model, loss_function) if capture and self.processes.size == 1 else
                          partial(compute_gradients, model, self.loss_and_report))
        self.metrics_length = 0  # bytes of metrics.jsonl that belong to what is behind; `run` cuts off the rest

    def run(self):
        """Train to the end, or until Ctrl-C (then Interrupted is raised, with everything saved). Returns the Score on the test images."""
        test, self.log = None, Log(self.folder / "metrics.jsonl" if self.processes.is_first else None, self.metrics_length)
        try:
            with self.stop, np.errstate(all="ignore"):  # NumPy need not warn: every step is checked
                while self.epoch < self.epochs:
                    self.train_epoch()
                    test = self.finish_epoch()
        except (Interrupted, NotFiniteError):
            self.plot()
            raise
        finally:
            self.progress.close()
        self.plot()
        return test or score(*self.processes.gather(*probabilities(self.tested_model, self.test_loader)))

    def train_epoch(self):
        """One pass over the training images, from batch number self.batch on."""
        self.model.train()
        self.train_loader.set_epoch(self.epoch)
        self.progress.begin_epoch(self)
        self.started = time.perf_counter() - self.seconds
        for images, labels in self.train_loader.iterate(start_batch=self.batch):
            with self.processes.sharing(self.train_loader.samples_in(self.batch)):
                result, stop = self.train_step(images, labels)
            self.finish_step(result, stop)

    def train_step(self, images, labels):
        """One step; where several processes share the batch, with this one's share. Returns the batch's Average, and whether all agreed to stop after it."""
        rng_state = get_rng_state()
        loss, logits = self.gradients(images, labels)  # what does it say, how wrong is that, and which way is better, for every weight?
        result, stop = self.processes.after_backward(Average.of_batch(loss, logits, labels))
        self.require(finite(loss), f"the loss is {loss.item()}", images, labels, rng_state)
        self.require(gradients_finite(self.model.parameters()), "the loss is finite, but its gradient is not", images, labels, rng_state)

        self.optimizer.step()  # a step that way
        return result, stop

    def loss_and_report(self, output, labels):
        """The loss function where several processes share the batch: they hear of its result while the backward pass runs."""
        loss, logits = self.loss_function(output, labels)
        self.processes.before_backward(Average.of_batch(loss.detach(), logits.detach(), labels), self.stop.requested)
        return loss, logits

    def finish_step(self, result, stop):
        """Count the step and tell of it; save if it is time to, or stop."""
        self.batch, self.step, self.seconds, self.lr = self.batch + 1, self.step + 1, time.perf_counter() - self.started, self.learning_rate
        self.average.add(result)
        self.schedule.after_step()
        if self.weight_average is not None:
            self.weight_average.update(self.step)
        self.progress.step(self, result.images)
        if self.step % self.log_every == 0:
            self.log.write(kind="step", epoch=self.epoch + 1, step=self.step, loss=result.mean_loss, lr=self.lr)
        self.stop_if_requested(agreed=stop)
        if self.step % self.checkpoint_every == 0:
            self.save()

    def finish_epoch(self):
        """Test, and write the epoch's line, checkpoints and plot. Returns the Score on the test images."""
        test = self.test()
        self.progress.end_epoch(self, test)
        self.log.write(kind="epoch", epoch=self.epoch + 1, step=self.step, train_loss=self.average.mean_loss, train_accuracy=self.average.accuracy,
                       test_loss=test.loss, test_accuracy=test.top1, test_top5=test.top5, lr=self.lr, seconds=round(self.seconds, 3),
                       images_per_second=round(self.average.images / max(self.seconds, 1e-9), 1))
        self.schedule.after_epoch(test)
        took, self.epoch, self.batch, self.average, self.seconds = self.seconds, self.epoch + 1, 0, Average(), 0.0
        if test.top1 > self.best:  # the first of equals
            self.best = test.top1
            if self.processes.is_first:
                save(self.folder / "best.safetensors", self.config, self.tested_model)
        self.save()
        if took > PLOT_SECONDS:
            self.plot()
        return test

    def test(self):
        """The Score on the test images."""
        tick = self.progress.begin_test(self)

        def on_batch(images):
            tick(images)
            self.stop_if_requested()
        return score(*self.processes.gather(*probabilities(self.tested_model, self.test_loader, on_batch)))

    def stop_if_requested(self, agreed=False):
        """After Ctrl-C: save, and say how to go on. Several processes have to stop after the same step, so they agree on it while they exchange gradients."""
        if agreed or (self.stop.requested and self.processes.size == 1):
            self.save()
            raise Interrupted(f"stopped in epoch {self.epoch + 1} after batch {self.batch} of {len(self.train_loader)}; everything is saved. To go on:\n"
                              f"  {self.processes.command} --resume {self.folder}")

    def require(self, healthy, what, images, labels, rng_state):
        """If something is not finite, find out where it began, and stop before it reaches the weights."""
        if healthy:
            return
        set_rng_state(rng_state)  # the same dropout as when it happened
        where = diagnose(self.model, self.loss_function, images, labels)
        group = self.optimizer.param_groups[0]
        lr = group.get("initial_lr", group["lr"])
        raise NotFiniteError(
            f"step {self.step + 1} (epoch {self.epoch + 1}, batch {self.batch + 1}): {what}\n"
            f"  {where}\n"
            f"  What to try: a smaller learning rate (--lr {lr / 10:.2g}; this run began with {lr:.3g}), a recipe that warms up, larger batches,\n"
            f"  another initialisation; and look at the images if the first layers overflow. No damaged weights were saved.")

    def plot(self):
        if self.processes.is_first:
            plot_curves(self.log.read(), self.folder / "curves.png", self.folder.name)

    @property
    def tested_model(self):
        return self.model if self.weight_average is None else self.weight_average.best_guess()

    @property
    def learning_rate(self):
        return self.optimizer.param_groups[0]["lr"]

    # ---- checkpoints

    def save(self):
        """Write last.safetensors, with everything that `resume` needs."""
        if not self.processes.is_first:
            return
        self.metrics_length = self.log.length()
        state = {name: getattr(self, name) for name in PLACE} | {
            "average": vars(self.average), "averaged": self.weight_average.count if self.weight_average else 0,
            "schedule": self.schedule.state_dict(), "rng": get_rng_state()}
        save(self.folder / "last.safetensors", self.config, self.model, self.optimizer, state, self.weight_average.model if state["averaged"] else None)

    def resume(self, checkpoint):
        """Go on from a checkpoint of this run, as if nothing had happened."""
        state = checkpoint.state
        restore(self.model, checkpoint)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.schedule.load_state_dict(state["schedule"])
        set_rng_state(state["rng"])
        for name in PLACE:
            setattr(self, name, state[name])
        self.average = Average(**state["average"])
        if state["averaged"]:
            restore(self.weight_average.model, checkpoint, checkpoint.average)
            self.weight_average.count = state["averaged"]
