// Max and average pooling. Both are sums of weights times elements: an average weighs each element of a window 1/number; a maximum weighs the winner 1 and the others 0.
// Once the winners are known, the weights are fixed, and the backward sends each dy to the elements of its window by the same weights.

import { Desk } from "./desk.js";
import { Numbers, range } from "./numbers.js";

class Pool {
  constructor(data) {
    Object.assign(this, data.geometry); // N C H W R S P Q, stride, padding, dilation, maximum, counted: [P][Q] divisors
    for (const [name, array] of Object.entries(data.arrays)) this[name] = Numbers.decode(array);
  }

  // The elements [h, v] that a window sees, in row-major order. Padding is never seen.
  seen(p, q) {
    const along = (axis, position, taps, length) => range(taps).map((tap) => position * this.stride[axis] + tap * this.dilation[axis] - this.padding[axis]).filter((place) => place >= 0 && place < length);
    return along(0, p, this.R, this.H).flatMap((h) => along(1, q, this.S, this.W).map((v) => [h, v]));
  }

  // The element that wins a window: the first of the largest.
  winner(n, c, p, q) {
    return this.seen(p, q).reduce((best, at) => (best && this.x.at(n, c, ...best) >= this.x.at(n, c, ...at) ? best : at), null);
  }

  // [{ h, v, weight }] of a window
  weights(n, c, p, q) {
    const winner = this.maximum ? this.winner(n, c, p, q) : null;
    return this.seen(p, q).map(([h, v]) => ({ h, v, weight: this.maximum ? Number(h === winner[0] && v === winner[1]) : 1 / this.number(p, q) }));
  }

  number(p, q) {
    return this.divisors.at(p, q);
  }

  // [{ p, q, weight }] of the windows that see an element
  windows(n, c, h, v) {
    return range(this.P * this.Q).flatMap((t) => {
      const p = Math.floor(t / this.Q), q = t % this.Q;
      const mine = this.weights(n, c, p, q).find((one) => one.h === h && one.v === v);
      return mine ? [{ p, q, weight: mine.weight }] : [];
    });
  }

  recomputed() {
    const y = Numbers.zeros(this.y.shape), dx = Numbers.zeros(this.x.shape), places = Numbers.zeros(this.y.shape);
    for (let n = 0; n < this.N; n++)
      for (let c = 0; c < this.C; c++)
        for (let p = 0; p < this.P; p++)
          for (let q = 0; q < this.Q; q++)
            for (const { h, v, weight } of this.weights(n, c, p, q)) {
              if (weight) y.add(weight * this.x.at(n, c, h, v), n, c, p, q);
              if (weight === 1) places.add(h * this.W + v, n, c, p, q);
              dx.add(weight * this.dy.at(n, c, p, q), n, c, h, v);
            }
    return { y, dx, places };
  }
}

export function poolPage(data) {
  const pool = new Pool(data), state = { n: 0, c: 0 };
  const tabs = [{ id: "forward", name: "Forward: y" }, { id: "dx", name: "Backward: dx" }];
  const desk = new Desk(tabs, views(pool), state, data.loops);
  desk.selector("image n", "n", range(pool.N), (n) => (state.n = n));
  desk.selector("channel c", "c", range(pool.C), (c) => (state.c = c));
  return () => {
    const { y, dx, places } = pool.recomputed(), length = pool.R * pool.S;
    return [
      { name: `y, each window's ${pool.maximum ? "maximum" : "mean"}`, engine: pool.y, here: y, length },
      ...(pool.maximum ? [{ name: "who won (h·W + v)", engine: pool.places, here: places, length: 1 }] : []),
      { name: "dx", engine: pool.dx, here: dx, length },
    ];
  };
}

function views(pool) {
  const grid = (id, title, say, rows, cols, more = {}) => (state) => ({ id, title, say, ...more, panels: [{ name: pool.C > 1 ? `c ${state.c}` : "", rows, cols, value: (i, j) => pool[id].at(state.n, state.c, i, j),
    kind: (i, j) => (rows === pool.H && cols === pool.W && id !== "y" && id !== "dy" && !pool.windows(state.n, state.c, i, j).length ? "never" : "") }] });
  const x = grid("x", "x", "input", pool.H, pool.W, { sign: "→" }), y = grid("y", "y", "output", pool.P, pool.Q);
  const dy = grid("dy", "dy", "gradient of the output", pool.P, pool.Q, { sign: "→" }), dx = grid("dx", "dx", "gradient of the input", pool.H, pool.W);
  const across = (figure, rows, cols) => () => range(rows * cols).map((at) => ({ figure, panel: 0, i: Math.floor(at / cols), j: at % cols }));
  const share = (weight, p, q) => (pool.maximum ? { name: weight ? "won" : "lost", value: weight } : { name: `1/${pool.number(p, q)}`, value: weight });

  const forward = {
    id: "forward", tab: "forward", name: "a window", loops: "y", steps: across("y", pool.P, pool.Q),
    about: pool.maximum ? "Choose an element of <b>y</b>: of the elements in its window the largest wins (of equals, the first). Padding is never seen: it counts as minus infinity, not as zero."
      : "Choose an element of <b>y</b>: the elements in its window are added, and divided by the number that counts.",
    figures: (state) => [x(state), y(state)],
    select: (state, { i: p, j: q }) => {
      const parts = pool.weights(state.n, state.c, p, q);
      return {
        marks: [...parts.map(({ h, v, weight }, product) => ({ figure: "x", panel: 0, i: h, j: v, product, role: weight ? "factor" : "silent" })), { figure: "y", panel: 0, i: p, j: q, role: "chosen" }],
        sum: {
          name: `y[${state.n}, ${state.c}, ${p}, ${q}]`, total: parts.reduce((sum, { h, v, weight }) => sum + (weight ? weight * pool.x.at(state.n, state.c, h, v) : 0), 0), engine: pool.y.at(state.n, state.c, p, q),
          how: pool.maximum ? `the largest of ${parts.length} elements` : `the sum of ${parts.length} elements, divided by ${pool.number(p, q)}`,
          rows: [{ products: parts.map(({ h, v, weight }, number) => ({ number, silent: !weight, factors: [share(weight, p, q), { name: `x[${state.n}, ${state.c}, ${h}, ${v}]`, value: pool.x.at(state.n, state.c, h, v) }] })) }],
        },
        indices: { n: state.n, c: state.c, p, q },
      };
    },
  };

  const collect = {
    id: "collect", tab: "dx", name: "each input collects", loops: "dx", steps: across("dx", pool.H, pool.W),
    about: pool.maximum ? "Choose an element of <b>dx</b>: it collects the gradients of all windows that it won, and nothing from those that it lost. One that won nothing, or that no window sees, gets 0."
      : "Choose an element of <b>dx</b>: every window that saw it sends it an equal share of its gradient.",
    start: (state) => { const won = range(pool.H * pool.W).map((at) => pool.windows(state.n, state.c, Math.floor(at / pool.W), at % pool.W).filter(({ weight }) => weight).length); return won.indexOf(Math.max(...won)); },
    figures: (state) => [x(state), dy(state), dx(state)],
    select: (state, { i: h, j: v }) => {
      const windows = pool.windows(state.n, state.c, h, v);
      return {
        marks: [...windows.map(({ p, q, weight }, product) => ({ figure: "dy", panel: 0, i: p, j: q, product, role: weight ? "factor" : "silent" })), { figure: "dx", panel: 0, i: h, j: v, role: "chosen" }, { figure: "x", panel: 0, i: h, j: v, role: "chosen" }],
        sum: {
          name: `dx[${state.n}, ${state.c}, ${h}, ${v}]`, total: windows.reduce((sum, { p, q, weight }) => sum + weight * pool.dy.at(state.n, state.c, p, q), 0), engine: pool.dx.at(state.n, state.c, h, v),
          how: windows.length ? `${windows.length} window${windows.length > 1 ? "s" : ""} saw it${pool.maximum ? `, it won ${windows.filter(({ weight }) => weight).length}` : ""}` : "no window sees it",
          rows: [{ products: windows.map(({ p, q, weight }, number) => ({ number, silent: !weight, factors: [share(weight, p, q), { name: `dy[${state.n}, ${state.c}, ${p}, ${q}]`, value: pool.dy.at(state.n, state.c, p, q) }] })) }],
        },
        indices: { n: state.n, c: state.c, h, v },
      };
    },
  };

  const scatter = {
    id: "scatter", tab: "dx", name: "each output scatters", loops: "dx", steps: across("dy", pool.P, pool.Q),
    about: `Step through <b>dy</b>: each element goes ${pool.maximum ? "to the winner of its window" : "in equal shares to all elements of its window"}, and is <i>added</i> there, for windows may overlap.`,
    figures: (state) => [x(state), dy(state), dx(state)],
    select: (state, { i: p, j: q }) => {
      const parts = pool.weights(state.n, state.c, p, q), soFar = Numbers.zeros([pool.H, pool.W]);
      for (let t = 0; t <= p * pool.Q + q; t++)
        for (const { h, v, weight } of pool.weights(state.n, state.c, Math.floor(t / pool.Q), t % pool.Q)) soFar.add(weight * pool.dy.at(state.n, state.c, Math.floor(t / pool.Q), t % pool.Q), h, v);
      const places = (figure) => parts.map(({ h, v, weight }, product) => ({ figure, panel: 0, i: h, j: v, product, role: weight ? "factor" : "silent" }));
      const value = pool.dy.at(state.n, state.c, p, q), name = `dy[${state.n}, ${state.c}, ${p}, ${q}]`;
      return {
        marks: [...places("x"), ...places("dx"), { figure: "dy", panel: 0, i: p, j: q, role: "chosen" }],
        values: [{ figure: "dx", panel: 0, value: (h, v) => soFar.at(h, v) }],
        sum: { name, total: value, how: pool.maximum ? "goes to the winner" : `is shared by ${parts.length} elements`, rows: [{ products: parts.map(({ h, v, weight }, number) => ({ number, silent: !weight, say: `→ dx[${h}, ${v}]`, factors: [share(weight, p, q), { name, value }] })) }] },
        indices: { n: state.n, c: state.c, p, q },
      };
    },
  };
  return [forward, collect, scatter];
}
