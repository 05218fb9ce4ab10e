"""Ctrl-C as a request: what is under way ends in good order, then the program stops."""
import signal
import threading


class StopRequest:
    """`with StopRequest() as stop:` a first Ctrl-C (or SIGTERM, as batch systems send) sets `stop.requested`; a second one stops at once, as usual."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.requested = False
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # Python delivers signals there, and only there may they be redirected
            self.before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


class Interrupted(KeyboardInterrupt):
    """A run stopped on request, with everything saved; the message says how to go on."""
