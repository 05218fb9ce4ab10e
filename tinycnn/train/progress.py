"""What a person sees while a network trains: a progress bar for the epoch under way, and a line for each one behind."""
import sys

from tqdm import tqdm


class Progress:
    """Bars on a terminal, and lines on `file`; nothing at all if quiet."""

    BAR = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} images  {rate_fmt}  {remaining} left  {postfix}"

    def __init__(self, quiet=False, file=None):
        self.quiet, self.file, self.bar = quiet, file or sys.stdout, None

    def say(self, text):
        """A line of its own."""
        if not self.quiet:
            print(text, file=self.file, flush=True)

    def begin_epoch(self, trainer):
        loader = trainer.train_loader
        self._open(f"epoch {trainer.epoch + 1}/{trainer.epochs}", len(loader.dataset), min(trainer.batch * loader.batch_size, len(loader.dataset)))

    def step(self, trainer, images):
        self.bar.set_postfix_str(f"loss {trainer.average.mean_loss:.4f}", refresh=False)
        self.bar.update(images)

    def begin_test(self, trainer):
        """A bar for the test images; returns what to call with the number of images of each batch."""
        self._open("testing", len(trainer.test_loader.dataset))
        return self.bar.update

    def end_epoch(self, trainer, test):
        self.close()
        average, width = trainer.average, len(str(trainer.epochs))
        self.say(f"epoch {trainer.epoch + 1:{width}}/{trainer.epochs}   train loss {average.mean_loss:.4f}  accuracy {average.accuracy:6.2%}   "
                 f"test loss {test.loss:.4f}  accuracy {test.top1:6.2%}   {average.images / max(trainer.seconds, 1e-9):,.0f} images/s")

    def close(self):
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _open(self, description, total, done=0):
        self.close()
        self.bar = tqdm(total=total, initial=done, desc=description, unit="img", bar_format=self.BAR, leave=False, dynamic_ncols=True,
                        disable=True if self.quiet else None)  # None: only on a terminal
