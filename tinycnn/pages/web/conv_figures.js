// The grids that the views of convolution are made of, and where in them a use or an element lies.

import { range } from "./numbers.js";

export const READABLE = 2000; // entries of a matrix up to which it is drawn as a whole
const FEW = 4; // channels that are shown side by side; of more, the chosen one
const SMALL = 200; // elements of a map up to which several are shown

export class Figures {
  constructor(conv) {
    this.conv = conv;
  }

  // Channels (within the group) and filters (of the group) that are shown.
  shownChannels(state) {
    const { Cg, H, W } = this.conv;
    return Cg <= FEW && H * W <= SMALL ? range(Cg) : [state.c % Cg];
  }

  shownFilters(state) {
    const { Kg, P, Q } = this.conv, first = Math.floor(state.k / Kg) * Kg;
    return Kg <= FEW && P * Q <= SMALL ? range(Kg, first) : [state.k];
  }

  channel(state, cg) {
    return Math.floor(state.k / this.conv.Kg) * this.conv.Cg + cg;
  }

  // ---- figures

  x(state, channels, more = {}) {
    const { conv } = this, [top, left] = conv.padding;
    const at = (i, j) => [i - top, j - left];
    return {
      id: "x", title: "x", say: "input", ...more,
      panels: channels.map((cg) => ({
        name: conv.C > 1 ? `c ${this.channel(state, cg)}` : "", rows: conv.H + 2 * top, cols: conv.W + 2 * left, first: [-top, -left],
        kind: (i, j) => this.kind(...at(i, j)),
        value: (i, j) => (this.inside(...at(i, j)) ? conv.x.at(state.n, this.channel(state, cg), ...at(i, j)) : 0),
      })),
    };
  }

  w(state, pairs, more = {}) {
    const { conv } = this;
    const turn = more.turned ? (i, j) => [conv.R - 1 - i, conv.S - 1 - j] : (i, j) => [i, j];
    return {
      id: "w", title: "w", say: more.turned ? "filter, turned by 180°" : "filter", ...more,
      panels: pairs.map(([k, cg, name]) => ({ name: pairs.length > 1 ? name : "", rows: conv.R, cols: conv.S, value: (i, j) => conv.w.at(k, cg, ...turn(i, j)) })),
    };
  }

  // y or dy
  outputs(id, say, state, filters, more = {}) {
    const { conv } = this;
    return { id, title: id, say, ...more, panels: filters.map((k) => ({ name: conv.K > 1 ? `k ${k}` : "", rows: conv.P, cols: conv.Q, value: (p, q) => conv[id].at(state.n, k, p, q) })) };
  }

  dx(state, more = {}) {
    const { conv } = this;
    return {
      id: "dx", title: "dx", say: "gradient of the input", ...more,
      panels: [{ name: conv.C > 1 ? `c ${state.c}` : "", rows: conv.H, cols: conv.W, kind: (h, v) => this.kind(h, v), value: (h, v) => conv.dx.at(state.n, state.c, h, v) }],
    };
  }

  dw(state, more = {}) {
    const { conv } = this;
    return { id: "dw", title: "dw", say: "gradient of the filter", ...more, panels: [{ name: "", rows: conv.R, cols: conv.S, value: (r, s) => conv.dw.at(state.k, state.c % conv.Cg, r, s) }] };
  }

  inside(h, v) {
    return h >= 0 && h < this.conv.H && v >= 0 && v < this.conv.W;
  }

  kind(h, v) {
    return !this.inside(h, v) ? "pad" : this.conv.leftOver(h, v) ? "never" : "";
  }

  // ---- where a use lies in them

  inX(use, channels, product) {
    const [top, left] = this.conv.padding;
    return { figure: "x", panel: channels.indexOf(use.cg), i: use.h + top, j: use.v + left, product, role: use.inside ? "factor" : "silent" };
  }

  inOutputs(id, use, filters, product) {
    return { figure: id, panel: filters.indexOf(use.k), i: use.p, j: use.q, product, role: use.inside ? "factor" : "silent" };
  }

  inW(use, panel, product) {
    return { figure: "w", panel, i: use.r, j: use.s, product, role: use.inside ? "factor" : "silent" };
  }
}

// ---- a use as a product of two of its three factors

const NAMES = {
  w: (use) => ({ name: `w[${use.k}, ${use.cg}, ${use.r}, ${use.s}]`, value: use.w }),
  x: (use) => ({ name: `x[${use.n}, ${use.c}, ${use.h}, ${use.v}]`, value: use.x }),
  dy: (use) => ({ name: `dy[${use.n}, ${use.k}, ${use.p}, ${use.q}]`, value: use.dy }),
};

export function product(use, number, ...factors) {
  return { number, factors: factors.map((name) => NAMES[name](use)), silent: !use.inside, say: use.inside ? "" : "padding" };
}

// Rows of a sum: uses that share what key(use) gives, under the name that it has.
export function rowsBy(uses, key, name, products, shown = () => true) {
  const groups = new Map();
  uses.forEach((use, i) => groups.set(key(use), [...(groups.get(key(use)) ?? []), products(use, i)]));
  return [...groups].map(([value, listed]) => ({ name: name(value), products: listed, shown: shown(value) }));
}
