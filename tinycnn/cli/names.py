"""Names that people type: what they probably meant."""
import difflib

import click


def nearest(name, names):
    """'; did you mean ...?' for the closest of `names` (of equally close ones, that with most letters in their places), or nothing if none is close."""
    close = difflib.get_close_matches(name, list(names), n=5, cutoff=0.5)
    best = max(close, key=lambda other: (difflib.SequenceMatcher(None, name, other).ratio(), sum(map(str.__eq__, name, other))), default=None)
    return f"; did you mean {best!r}?" if best else ""


class Name(click.ParamType):
    """One of the names that names() gives, a function so that nothing is imported before the name is needed."""

    def __init__(self, kind, names):
        self.name, self.names = kind, names

    def convert(self, value, parameter, context):
        names = self.names()
        if value not in names:
            self.fail(f"unknown {self.name} {value!r}{nearest(value, names)} {self._all(names)}", parameter, context)
        return value

    def _all(self, names):
        return f"({', '.join(names)})" if len(names) < 8 else f"(`tinycnn {self.name}s` lists all {len(names)})"

    def shell_complete(self, context, parameter, incomplete):
        from click.shell_completion import CompletionItem
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
