// The page of one convolution: its views, the indices that can be chosen, and its self-test.

import { Conv } from "./conv_math.js";
import { Figures } from "./conv_figures.js";
import { forwardViews } from "./conv_forward.js";
import { inputGradViews } from "./conv_input_grad.js";
import { weightGradViews } from "./conv_weight_grad.js";
import { Desk } from "./desk.js";
import { range } from "./numbers.js";

const WORK = 4e6; // multiplications that the transposed matrix may cost; of larger layers, some rows are checked

export function convPage(data) {
  const conv = new Conv(data), figures = new Figures(conv), state = { n: 0, c: 0, k: 0 };
  const tabs = [{ id: "forward", name: "Forward: y" }, { id: "dx", name: "Backward: dx" }, { id: "dw", name: "Backward: dw, db" }, { id: "use", name: "How often used" }];
  const views = [...forwardViews(conv, figures), ...inputGradViews(conv, figures), ...weightGradViews(conv, figures), usage(conv, figures)];
  const desk = new Desk(tabs, views, state, data.loops);
  // A filter sees only the channels of its group: whichever is chosen, the other follows into the same group.
  desk.selector("image n", "n", range(conv.N), (n) => (state.n = n));
  desk.selector("channel c", "c", range(conv.C), (c) => { state.c = c; state.k = Math.floor(c / conv.Cg) * conv.Kg + (state.k % conv.Kg); });
  desk.selector("filter k", "k", range(conv.K), (k) => { state.k = k; state.c = Math.floor(k / conv.Kg) * conv.Cg + (state.c % conv.Cg); });
  return () => checks(conv);
}

function usage(conv, figures) {
  return {
    id: "use", tab: "use", name: "how often used", loops: "use", also: ["met"],
    about: `How many products each input and each weight takes part in, for one channel and one filter: what dx and dw are when all of w, x and dy are 1. Inputs at the border are used less often than those inside; hatched ones never, and their dx is 0.`,
    start: () => 0,
    steps: () => range(conv.H * conv.W).map((at) => ({ figure: "used", panel: 0, i: Math.floor(at / conv.W), j: at % conv.W })),
    figures: () => [
      { id: "used", title: "x", say: "how often each input is used", panels: [{ rows: conv.H, cols: conv.W, kind: (h, v) => figures.kind(h, v), value: (h, v) => conv.used.at(0, 0, h, v) }] },
      { id: "met", title: "w", say: "how many inputs each weight meets", panels: [{ rows: conv.R, cols: conv.S, value: (r, s) => conv.met.at(0, 0, r, s) }] },
      { id: "positions", title: "y", say: "the outputs that use it", panels: [{ rows: conv.P, cols: conv.Q, value: () => null }] }],
    select: (state, { figure, i, j }) => {
      const uses = (figure === "used" ? conv.usesOfInput(0, 0, i, j) : conv.usesOfWeight(0, 0, i, j)).filter((use) => use.k === 0 && use.n === 0 && use.inside);
      const marks = uses.flatMap((use) => {
        const number = figure === "used" ? use.tap : use.p * conv.Q + use.q;
        const other = figure === "used" ? { figure: "met", panel: 0, i: use.r, j: use.s } : { figure: "used", panel: 0, i: use.h, j: use.v };
        return [{ ...other, product: number, role: "factor" }, { figure: "positions", panel: 0, i: use.p, j: use.q, product: number, role: "factor" }];
      });
      const name = figure === "used" ? `x[…, ${i}, ${j}]` : `w[…, ${i}, ${j}]`;
      const products = uses.map((use) => ({ number: figure === "used" ? use.tap : use.p * conv.Q + use.q, factors: [{ name: figure === "used" ? `y[${use.p}, ${use.q}] through w[${use.r}, ${use.s}]` : `y[${use.p}, ${use.q}], where it meets x[${use.h}, ${use.v}]`, value: 1 }] }));
      const engine = figure === "used" ? conv.used.at(0, 0, i, j) : conv.met.at(0, 0, i, j);
      return { marks: [...marks, { figure, panel: 0, i, j, role: "chosen" }], sum: { name: `uses of ${name}`, rows: [{ products }], total: uses.length, engine, how: uses.length ? "one for each pair of an output and a tap" : "no window reaches it: left over, dx = 0" } };
    },
  };
}

function checks(conv) {
  const { y, dx, dw, db } = conv.byUses();
  const inputs = conv.Kg * conv.R * conv.S, outputs = conv.Cg * conv.R * conv.S + 1, positions = conv.N * conv.P * conv.Q;
  return [
    { name: "y, window by window", engine: conv.y, here: y, length: outputs },
    { name: "y = W U, a product of matrices", engine: conv.y, here: (...at) => conv.yByColumns(...at), length: outputs },
    { name: "dx, collected or scattered", engine: conv.dx, here: dx, length: inputs },
    { name: "dx, a correlation with the turned filter", engine: conv.dx, here: (...at) => conv.dxByCorrelation(...at), length: inputs },
    { name: "dx = Aᵀ dy, the transposed matrix", engine: conv.dx, here: (...at) => conv.dxByMatrix(...at), length: inputs, every: Math.ceil((conv.x.data.length * conv.Kg * conv.P * conv.Q) / WORK) },
    { name: "dw, collected or added", engine: conv.dw, here: dw, length: positions },
    { name: "dw, a correlation of x with dy", engine: conv.dw, here: (...at) => conv.dwByCorrelation(...at), length: positions },
    { name: "dW = dY Uᵀ, a product of matrices", engine: conv.dw, here: (...at) => conv.dwByColumns(...at), length: positions },
    { name: "db", engine: conv.db, here: db, length: positions },
    { name: "how often each input is used", engine: conv.used, here: (_, __, h, v) => conv.timesUsed(h, v), length: 1 },
    { name: "how often each weight is used", engine: conv.met, here: (_, __, r, s) => conv.timesMet(r, s), length: 1 },
  ];
}
