"""What a convolution's page says in words: the sizes with the numbers put in, and what each option does to the three passes."""


def by(first, second):
    return f"{first} × {second}"


def pair(value):
    """2, or 2 × 1 where the directions differ."""
    return str(value[0]) if value[0] == value[1] else by(*value)


def options(geometry):
    """, stride 2, padding 1: those of a Geometry or a Window that are not the usual ones."""
    usual = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    shown = [f", {name} {pair(getattr(geometry, name))}" for name, value in usual.items() if getattr(geometry, name) != value]
    groups = getattr(geometry, "groups", 1)
    return "".join(shown) + (f", {groups} groups" if groups > 1 else "")


def formula(sizes, geometry):
    """The shapes, and the numbers of outputs and of multiply-adds with the numbers put in, as HTML."""
    N, C, H, W, K, R, S, P, Q, G = sizes.values()
    axes = [outputs(name, *axis) for name, *axis in zip("PQ", (H, W), (R, S), geometry.stride, geometry.padding, geometry.dilation)]
    same = axes[0].partition("=")[2] == axes[1].partition("=")[2]
    products = C // G * R * S
    return (f"x ({N}, {C}, {H}, {W}), w ({K}, {C // G}, {R}, {S}) → y ({N}, {K}, {P}, {Q}) &ensp; {axes[0] if same else ', '.join(axes)} &ensp; "
            f"{N * K * P * Q:,} outputs × {products} products = {N * K * P * Q * products:,} multiply-adds; as many again for dx, and for dw")


def outputs(name, length, size, stride, padding, dilation):
    """P = (5 + 2·1 − 1·(3 − 1) − 1) / 2 + 1 = 3"""
    room = length + 2 * padding - dilation * (size - 1) - 1
    rest = f" (rounded down: {room % stride} left over)" if room % stride else ""
    return f"{name} = ({length} + 2·{padding} − {dilation}·({size} − 1) − 1) / {stride} + 1 = <b>{room // stride + 1}</b>{rest}"


def facts(sizes, geometry, used):
    """Rows (option, its part in y, in dx, in dw). used (H, W): how often each input is used."""
    N, C, H, W, K, R, S, P, Q, G = sizes.values()
    s, p, d = pair(geometry.stride), pair(geometry.padding), pair(geometry.dilation)
    spans = by(geometry.dilation[0] * (R - 1) + 1, geometry.dilation[1] * (S - 1) + 1)
    never = int((used == 0).sum())
    strided = (f"neighbouring outputs look at windows {s} apart",
               f"the elements of dy lie {s} apart, with zeros between them: an input meets only some of the taps",
               f"it becomes the dilation: dy, as the filter, is spread {s} apart")
    not_strided = ("the filter moves by one input at a time",
                   "dy needs no zeros in between: every tap of the filter can meet an output",
                   "dy, as the filter, is not spread")
    padded = (f"zeros continue the image, {p} on each side; weights that lie there add nothing",
              "what falls on the padding is cut off: nobody asks for its gradient",
              "where a weight lay on padding it collects nothing: outer weights have fewer products")
    not_padded = ("every window lies within the image",
                  "the border is used by fewer windows than the inside: its sums are shorter",
                  f"every weight collects from all {P * Q} positions")
    dilated = (f"the taps lie {d} apart: the filter spans {spans}",
               "the turned filter keeps its dilation",
               f"it becomes the stride: dy, as the filter, moves by {d}")
    not_dilated = (f"the taps are neighbours: the filter spans {spans}",
                   "the turned filter is as compact as the filter",
                   "dy, as the filter, moves by one")
    grouped = (f"filter k sees only the {C // G} channels of its group: {G} convolutions side by side",
               f"a channel hears only from the {K // G} filters of its group",
               f"w has {C // G} channels, not {C}: weights between groups do not exist")
    channels = (f"each output adds up {C} channels",
                f"each input collects from {K} filters",
                "every pair of a channel and a filter has weights of its own")
    left_over = (f"{never} of the {H * W} inputs are in no window",
                 "their dx is 0, and must be there: dx has the shape of x, which dy cannot tell",
                 "they are in no product of dw")
    uses = (f"an input is used {int(used.min())} to {int(used.max())} times",
            "so many products has its dx (of one filter)",
            f"{P * Q} positions{f' of {N} images' if N > 1 else ''} add up; nothing is divided by their number")
    rows = [(f"stride {s}", *(strided if max(geometry.stride) > 1 else not_strided)), (f"padding {p}", *(padded if max(geometry.padding) else not_padded)),
            (f"dilation {d}", *(dilated if max(geometry.dilation) > 1 else not_dilated))]
    if G > 1:
        rows.append((f"{G} groups", *grouped))
    elif C > 1 or K > 1:
        rows.append((f"{C} channels, {K} filters", *channels))
    if never:
        rows.append(("left over", *left_over))
    return [*rows, ("used", *uses)]
