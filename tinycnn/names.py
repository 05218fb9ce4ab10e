"""Names that people type: what they probably meant."""
import difflib


def nearest(name, names):
    """'; did you mean ...?' for the closest of `names` (of equally close ones, that with most letters in their places), or nothing if none is close."""
    name = str(name)
    close = difflib.get_close_matches(name, list(names), n=5, cutoff=0.5)
    best = max(close, key=lambda other: (difflib.SequenceMatcher(None, name, other).ratio(), sum(map(str.__eq__, name, other))), default=None)
    return f"; did you mean {best!r}?" if best else ""
