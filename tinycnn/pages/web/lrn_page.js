// Local response normalisation: at every place of the image, channels damp their neighbours.  base = k + alpha * sum of x² over the window of channels;  y = x * base^-beta

import { Desk } from "./desk.js";
import { Numbers, range } from "./numbers.js";

class LRN {
  constructor(data) {
    Object.assign(this, data.geometry); // N C H W size alpha beta k
    for (const [name, array] of Object.entries(data.arrays)) this[name] = Numbers.decode(array);
  }

  // Channels whose squares are in the base of c, and channels in whose base that of c is: the mirrored window.
  seen(c) {
    return range(this.size, c - Math.floor(this.size / 2)).filter((j) => j >= 0 && j < this.C);
  }

  seenBy(c) {
    return range(this.size, c - Math.floor((this.size - 1) / 2)).filter((j) => j >= 0 && j < this.C);
  }

  baseAt(n, c, h, v) {
    return this.k + this.alpha * this.seen(c).reduce((sum, j) => sum + this.x.at(n, j, h, v) ** 2, 0);
  }

  // The two parts of dx: of c as the one that is damped, and of c as a neighbour in the base of each j.
  own(n, c, h, v) {
    return this.dy.at(n, c, h, v) * this.baseAt(n, c, h, v) ** -this.beta;
  }

  asNeighbour(n, c, j, h, v) {
    return [-2 * this.alpha * this.beta * this.x.at(n, c, h, v), this.dy.at(n, j, h, v), this.x.at(n, j, h, v) * this.baseAt(n, j, h, v) ** (-this.beta - 1)];
  }

  yAt(n, c, h, v) {
    return this.x.at(n, c, h, v) * this.baseAt(n, c, h, v) ** -this.beta;
  }

  dxAt(n, c, h, v) {
    return this.own(n, c, h, v) + this.seenBy(c).reduce((sum, j) => sum + this.asNeighbour(n, c, j, h, v).reduce((a, b) => a * b), 0);
  }
}

export function lrnPage(data) {
  const lrn = new LRN(data), state = { n: 0, c: Math.floor(lrn.C / 2), h: 0, v: 0 };
  const desk = new Desk([{ id: "forward", name: "Forward: y" }, { id: "dx", name: "Backward: dx" }], views(lrn), state, data.loops);
  desk.selector("image n", "n", range(lrn.N), (n) => (state.n = n));
  return () => [
    { name: "base", engine: lrn.base, here: (...at) => lrn.baseAt(...at), length: lrn.size },
    { name: "y", engine: lrn.y, here: (...at) => lrn.yAt(...at), length: lrn.size },
    { name: "dx, its two parts", engine: lrn.dx, here: (...at) => lrn.dxAt(...at), length: 4 * lrn.size },
  ];
}

function views(lrn) {
  // Two kinds of grids: the map of one channel, to choose a place, and a line of all channels at that place.
  const map = (state) => ({ id: "map", title: "x", say: "choose a place of the image", sign: "→", panels: [{ name: `c ${state.c}`, rows: lrn.H, cols: lrn.W, value: (h, v) => lrn.x.at(state.n, state.c, h, v) }] });
  const line = (id, title, say) => (state) => ({ id, title, say, panels: [{ rows: 1, cols: lrn.C, matrix: lrn.C > 9, value: (_, c) => lrn[id].at(state.n, c, state.h, state.v) }] });
  const lines = { x: line("x", "x", "all channels there"), base: line("base", "base", "what damps them"), y: line("y", "y", "output"), dy: line("dy", "dy", "gradient of the output"), dx: line("dx", "dx", "gradient of the input") };
  const refilled = (state, ...ids) => [{ figure: "map", panel: 0, value: (h, v) => lrn.x.at(state.n, state.c, h, v) }, ...ids.map((id) => ({ figure: id, panel: 0, value: (_, c) => lrn[id].at(state.n, c, state.h, state.v) }))];
  const steps = (figure) => () => range(lrn.C).map((c) => ({ figure, panel: 0, i: 0, j: c }));
  const start = (state) => state.c;
  const follow = (state, { figure, i, j }) => (figure === "map" ? Object.assign(state, { h: i, v: j }) : Object.assign(state, { c: j }));
  const mark = (figure, c, product, role = "factor") => ({ figure, panel: 0, i: 0, j: c, product, role });
  const place = (state) => ({ figure: "map", panel: 0, i: state.h, j: state.v, role: "chosen" });
  const name = (array, state, c = state.c) => `${array}[${state.n}, ${c}, ${state.h}, ${state.v}]`;
  const number = (value) => Number(value.toPrecision(3));

  const forward = {
    id: "forward", tab: "forward", name: "neighbouring channels", loops: "y", steps: steps("y"), also: ["map"], start,
    about: `Choose a channel of <b>y</b> (and, in the map, a place): the squares of ${lrn.size} neighbouring channels, as far as there are any, make its base, and y = x · base<sup>−β</sup>: strong neighbours damp it.`,
    figures: (state) => [map(state), { group: [lines.x(state), lines.base(state), lines.y(state)] }],
    select: (state, choice) => {
      follow(state, choice);
      const { n, c, h, v } = state, seen = lrn.seen(c), base = lrn.baseAt(n, c, h, v);
      return {
        marks: [...seen.map((j) => mark("x", j, j)), mark("base", c, undefined, "chosen"), mark("y", c, undefined, "chosen"), place(state)], values: refilled(state, "x", "base", "y"),
        sum: {
          name: name("base", state), start: { name: "k", value: lrn.k }, total: base, engine: lrn.base.at(n, c, h, v),
          how: `k and alpha = ${number(lrn.alpha)} times ${seen.length} squares; then y = ${number(lrn.x.at(n, c, h, v))} · ${number(base)}^−${lrn.beta} = ${number(lrn.x.at(n, c, h, v) * base ** -lrn.beta)}`,
          rows: [{ products: seen.map((j) => ({ number: j, factors: [{ name: "alpha", value: lrn.alpha }, { name: `${name("x", state, j)}²`, value: lrn.x.at(n, j, h, v) ** 2 }] })) }],
        },
        indices: { n, c, h, v },
      };
    },
  };
  const backward = {
    id: "backward", tab: "dx", name: "two parts", loops: "dx", steps: steps("dx"), also: ["map"], start,
    about: "Choose a channel of <b>dx</b>. Its input counts twice: as the one that is damped (its own dy, times base<sup>−β</sup>), and as a neighbour in the base of every channel whose window holds it: those grow the base and shrink their y. Libraries got the second part wrong; at the paper's alpha of 0.0001 it hardly shows, which is why alpha is larger here.",
    figures: (state) => [map(state), { group: [lines.x(state), lines.base(state), lines.dy(state), lines.dx(state)] }],
    select: (state, choice) => {
      follow(state, choice);
      const { n, c, h, v } = state, by = lrn.seenBy(c);
      return {
        marks: [...by.flatMap((j) => ["x", "base", "dy"].map((id) => mark(id, j, j))), mark("dx", c, undefined, "chosen"), place(state)], values: refilled(state, "x", "base", "dy", "dx"),
        sum: {
          name: name("dx", state), start: { name: `<code>${name("dy", state)} · ${name("base", state)}^−${lrn.beta}</code>`, value: lrn.own(n, c, h, v) }, total: lrn.dxAt(n, c, h, v), engine: lrn.dx.at(n, c, h, v),
          how: `its own part, and ${by.length} as a neighbour`,
          rows: [{ products: by.map((j) => { const [mine, dy, rest] = lrn.asNeighbour(n, c, j, h, v); return { number: j, factors: [{ name: "−2αβ x[c]", value: mine }, { name: `dy[${j}]`, value: dy }, { name: `y[${j}]/base[${j}]`, value: rest }] }; }) }],
        },
        indices: { n, c, h, v },
      };
    },
  };
  return [forward, backward];
}
