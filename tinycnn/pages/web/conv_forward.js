// Views of the forward pass: each output's window, and the product of matrices that it is with unfolded columns.

import { READABLE, product, rowsBy } from "./conv_figures.js";
import { range } from "./numbers.js";

export function forwardViews(conv, figures) {
  const steps = (state) => range(conv.P * conv.Q).map((t) => ({ figure: "y", panel: 0, i: Math.floor(t / conv.Q), j: t % conv.Q }));

  function sumOf(state, p, q, numberOf = (use) => use.tap) {
    const uses = conv.usesOfOutput(state.n, state.k, p, q);
    const channels = figures.shownChannels(state);
    return {
      uses,
      sum: {
        name: `y[${state.n}, ${state.k}, ${p}, ${q}]`,
        start: conv.bias && { name: `bias[${state.k}]`, value: conv.bias.at(state.k) },
        rows: rowsBy(uses, (use) => use.cg, (cg) => `channel ${figures.channel(state, cg)}`, (use) => product(use, numberOf(use), "w", "x"), (cg) => channels.includes(cg)),
        total: uses.reduce((sum, use) => sum + use.w * use.x, conv.bias ? conv.bias.at(state.k) : 0),
        engine: conv.y.at(state.n, state.k, p, q),
      },
    };
  }

  const window = {
    id: "window", tab: "forward", name: "a window", loops: "y", steps,
    about: "Choose an element of <b>y</b>: the filter lies over a window of <b>x</b>. What lies on top of each other is multiplied (same colour, same letter), and the products are added.",
    figures: (state) => {
      const channels = figures.shownChannels(state);
      return [figures.x(state, channels, { sign: "∗" }), figures.w(state, channels.map((cg) => [state.k, cg, `c ${figures.channel(state, cg)}`]), { sign: "=" }), figures.outputs("y", "output", state, [state.k])];
    },
    select: (state, { figure, i: p, j: q }) => {
      if (figure !== "y") return null;
      const channels = figures.shownChannels(state), { uses, sum } = sumOf(state, p, q);
      const marks = uses.filter((use) => channels.includes(use.cg)).flatMap((use) => [figures.inX(use, channels, use.tap), figures.inW(use, channels.indexOf(use.cg), use.tap)]);
      return { marks: [...marks, { figure: "y", panel: 0, i: p, j: q, role: "chosen" }], sum, indices: { n: state.n, k: state.k, p, q } };
    },
  };

  // ---- im2col: row (cg*R + r)*S + s of U, column p*Q + q

  const rows = conv.Cg * conv.R * conv.S, columns = conv.P * conv.Q, taps = conv.R * conv.S;
  const whole = rows * columns <= READABLE, rowOf = (use) => use.cg * taps + use.tap; // here products are numbered by rows of U
  const entry = (state, row, t) => conv.column(state.n, figures.channel(state, Math.floor(row / taps)), Math.floor((row % taps) / conv.S), row % conv.S, Math.floor(t / conv.Q), t % conv.Q);
  const unfolded = {
    id: "columns", tab: "forward", name: "a product of matrices (im2col)", loops: "columns", also: whole ? ["U"] : [],
    about: `Unfolding writes what each window sees into a column of the matrix <b>U</b> (${rows} × ${columns}: C/G·R·S rows, P·Q columns), and the filter becomes a row of <b>W</b>. Then Y = W U.
      U has ${((rows * columns) / (conv.Cg * conv.H * conv.W)).toFixed(1)} times as many numbers as x: ${whole ? "choose one of its entries and see from which element of x it was copied." : `too many to draw, so the column of the chosen output is shown.`}`,
    steps: (state) => range(columns).map((t) => ({ figure: "Y", panel: 0, i: 0, j: t })),
    figures: (state) => {
      const channels = figures.shownChannels(state);
      return [
        figures.x(state, channels, { sign: "→" }),
        { id: "W", title: "W", say: `row ${state.k}`, sign: "·", panels: [{ matrix: whole, rows: whole ? 1 : conv.Cg, cols: whole ? rows : taps, value: (i, j) => conv.w.data[state.k * rows + (whole ? j : i * taps + j)] }] },
        { id: "U", title: "U", say: whole ? "a column for each window" : "the column of this output, a line for each channel", sign: "=",
          panels: [{ matrix: whole, rows: whole ? rows : conv.Cg, cols: whole ? columns : taps, value: (i, j) => (whole ? entry(state, i, j) : entry(state, i * taps + j, 0)) }] },
        { id: "Y", title: "Y", say: `row ${state.k}: y as one line`, panels: [{ matrix: whole, rows: 1, cols: columns, value: (_, t) => conv.y.at(state.n, state.k, Math.floor(t / conv.Q), t % conv.Q) }] },
      ];
    },
    select: (state, choice) => {
      const channels = figures.shownChannels(state), t = choice.j, p = Math.floor(t / conv.Q), q = t % conv.Q;
      const { uses, sum } = sumOf(state, p, q, rowOf);
      const one = choice.figure === "U" ? uses[choice.i] : null; // an entry: where it comes from
      const marks = uses.flatMap((use, row) => {
        if (one && use !== one) return [];
        const role = use.inside ? "factor" : "silent";
        const inU = whole ? { i: row, j: t } : { i: use.cg, j: use.tap }, inW = whole ? { i: 0, j: row } : inU;
        return [{ figure: "U", panel: 0, ...inU, product: row, role }, { figure: "W", panel: 0, ...inW, product: row, role }, ...(channels.includes(use.cg) ? [figures.inX(use, channels, row)] : [])];
      });
      return {
        marks: [...marks, { figure: "Y", panel: 0, i: 0, j: t, role: "chosen" }, ...(one ? [{ ...choice, role: "chosen" }] : [])],
        values: whole ? [] : [{ figure: "U", panel: 0, value: (i, j) => entry(state, i * taps + j, t) }],
        sum: one ? {
          name: `U[${choice.i}, ${t}]`, how: `copied: row (${one.cg}·${conv.R} + ${one.r})·${conv.S} + ${one.s} = ${choice.i}, column ${p}·${conv.Q} + ${q} = ${t}`,
          rows: [{ products: [product(one, rowOf(one), "x")] }], total: one.x,
        } : { ...sum, name: `Y[${state.k}, ${t}] = ${sum.name}` },
        indices: { n: state.n, k: state.k, p, q },
      };
    },
  };
  return [window, unfolded];
}
