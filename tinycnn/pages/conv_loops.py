"""The loop nests of a convolution's passes, in the notation of the kernels, with one layer's numbers in them."""
from ..kernels.conv import reference
from .loops import nest


def loops(sizes, geometry):
    """{name: loop nest} for a page. sizes: {"N": ..., "C", "H", "W", "K", "R", "S", "P", "Q", "G"}."""
    N, C, H, W, K, R, S, P, Q, G = sizes.values()
    extents = {"n": N, "c": C // G, "k": K, "p": P, "q": Q, "r": R, "s": S, "h": H, "v": W}
    c = "c" if G == 1 else f"k//{K // G}*{C // G} + c"  # of x: in w, c counts within a group
    (sh, sw), (top, left), (dh, dw) = geometry.stride, geometry.padding, geometry.dilation
    tall, wide = _times("r", dh), _times("s", dw)  # where a tap lies in a window, and a window in the padded image
    below, right = _times("p", sh), _times("q", sw)
    place = [f"h, v = {_sum(below, tall, -top)}, {_sum(right, wide, -left)}", *([f"if 0 <= h < {H} and 0 <= v < {W}:  # else: padding"] if top or left else [])]

    def nested(variables, *body):
        """A loop for each variable, and the body within; a body's entry may be a pair with where it stands in the reference."""
        lines, depth = [f"{'  ' * i}for {name} in range({extents[name]}):" for i, name in enumerate(variables)], len(variables)
        for entry in body:
            text, where = entry if isinstance(entry, tuple) else (entry, None)
            lines.append(("  " * depth + text, where))
            depth += text.startswith("if ")
        return lines

    y = "y[n, k, p, q]"
    sums = {
        "y": [*nested("nkpq", (f"{y} = bias[k]", ("forward", "y = y if bias"))),
              *nested("nkpqcrs", *place, (f"{y} += w[k, c, r, s] * x[n, {c}, h, v]", ("forward", "y += np.einsum")))[4:]],
        "dx": nested("nkpqcrs", *place, (f"dx[n, {c}, h, v] += w[k, c, r, s] * dy[n, k, p, q]", ("input_grad", "part += np.einsum"))),
        "dw": nested("kcrsnpq", *place, (f"dw[k, c, r, s] += dy[n, k, p, q] * x[n, {c}, h, v]", ("weight_grad", "dw[..., r, s] = np.einsum"))),
        "db": nested("nkpq", "db[k] += dy[n, k, p, q]"),
        "use": nested("pqrs", *place, "used[h, v] += 1  # dx where w and dy are 1", "met[r, s] += 1   # dw where x and dy are 1"),
        "columns": [*nested("pqcrs", f"U[(c*{R} + r)*{S} + s, p*{Q} + q] = padded[n, {c}, {below} + {tall}, {right} + {wide}]"), "Y = W @ U"],
        "dxCorrelation": nested("nkchvrs", f"dx[n, {c}, h, v] += w[k, c, {R - 1} - r, {S - 1} - s] * spread[n, k, h + {tall}, v + {wide}]"),
        "dxMatrix": [*nested("hv", f"dx[h, v] = sum over k of  A[k].T[h*{W} + v] @ dy[k].ravel()")],
        "dwCorrelation": [*nested("kcrsnpq", f"dw[k, c, r, s] += dy[n, k, p, q] * padded[n, {c}, {tall} + {below}, {wide} + {right}]"),
                          "# the forward's loops: p and r, q and s have changed places"],
        "dwColumns": nested("n", "dW += dY[n] @ U[n].T"),
    }
    return {name: nest(lines, reference) for name, lines in sums.items()}


def _times(name, factor):
    return name if factor == 1 else f"{name}*{factor}"


def _sum(*names):
    """p*2 + r - 1: the last is a number, which may be 0."""
    *names, number = names
    return " + ".join(names) + (f" - {-number}" if number else "")
