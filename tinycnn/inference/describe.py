"""A step of a plan in one line, for people."""


def line(step):
    """The layer, what it does, from what to what, what was taken over, where the result goes, and by which algorithm."""
    parts = [f"{step.layer or step.op:32}", f"{what(step):34}", f"{size(step.input_shapes[0])} -> {size(step.shape)}"]
    notes = [f"+ {', '.join(step.taken)}"] if step.taken else []
    if step.place:
        notes.append(f"into channels {step.place[1]} to {step.place[1] + step.shape[1] - 1} of {step.place[0]}")
    if step.overwrites is not None:
        notes.append("in place")
    if step.op == "cat":
        notes.append(f"as {step.name}, {len(step.in_place)} of {len(step.inputs)} there already")
    if getattr(step, "algorithm", None):
        notes.append(f"[{step.algorithm}]")
    return "  ".join([*parts, *notes]).rstrip()


def what(step):
    """The operation with its options, as far as they are not the usual ones."""
    return step.op if not step.text else f"{step.op} {step.text}"


def size(shape):
    return "x".join(map(str, shape[1:])) or "1"


def options(op, values, weights):
    """3x3 stride 2 padding 1 ..."""
    window = weights["weight"].shape[2:] if op == "conv" else values.get("size")
    if not isinstance(window, tuple):
        return f"over {window}" if op == "lrn" else values["function"].__name__ if "function" in values else ""
    text = "x".join(map(str, window))
    usual = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    return text + "".join(f" {name} {short(values[name])}" for name, value in usual.items() if values.get(name, value) != value)


def short(value):
    """2 for (2, 2)."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
