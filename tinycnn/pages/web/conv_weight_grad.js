// Views of dw: what each weight collects, what each output adds, the correlation of x with the dilated dy, the product of matrices; and db.

import { READABLE, product, rowsBy } from "./conv_figures.js";
import { Numbers, range } from "./numbers.js";

export function weightGradViews(conv, figures) {
  const steps = () => range(conv.R * conv.S).map((tap) => ({ figure: "dw", panel: 0, i: Math.floor(tap / conv.S), j: tap % conv.S }));
  const middle = () => Math.floor(conv.R / 2) * conv.S + Math.floor(conv.S / 2);
  const numberOf = (use) => use.p * conv.Q + use.q; // here a product belongs to an output position
  const channel = (state) => [state.c % conv.Cg];

  function sumOf(state, r, s) {
    const cg = state.c % conv.Cg, uses = conv.usesOfWeight(state.k, cg, r, s);
    return {
      uses, indices: { k: state.k, c: state.c, cg, r, s },
      sum: {
        name: `dw[${state.k}, ${cg}, ${r}, ${s}]`,
        rows: rowsBy(uses, (use) => use.n, (n) => `image ${n}`, (use) => product(use, numberOf(use), "dy", "x"), (n) => n === state.n),
        total: uses.reduce((sum, use) => sum + use.dy * use.x, 0),
        engine: conv.dw.at(state.k, cg, r, s),
        ways: [{ name: "collected", value: uses.reduce((sum, use) => sum + use.dy * use.x, 0) }, { name: "as a correlation", value: conv.dwByCorrelation(state.k, cg, r, s) },
          { name: "as a product of matrices", value: conv.dwByColumns(state.k, cg, r, s) }],
      },
    };
  }
  const chosen = (r, s) => ({ figure: "dw", panel: 0, i: r, j: s, role: "chosen" });
  const mine = (state, uses) => uses.filter((use) => use.n === state.n);

  const collect = {
    id: "weights", tab: "dw", name: "each weight collects", loops: "dw", steps, start: middle,
    about: "Choose an element of <b>dw</b>: this weight was used once at every position. From each it collects the input that it met there times the gradient of the output that it helped to make. Products are coloured by position.",
    figures: (state) => [figures.x(state, channel(state), { sign: "∗" }), figures.outputs("dy", "gradient of the output", state, [state.k], { sign: "=" }), figures.dw(state)],
    select: (state, { i: r, j: s }) => {
      const { uses, sum, indices } = sumOf(state, r, s);
      const marks = mine(state, uses).flatMap((use) => [figures.inX(use, channel(state), numberOf(use)), figures.inOutputs("dy", use, [state.k], numberOf(use))]);
      return { marks: [...marks, chosen(r, s)], sum, indices };
    },
  };

  const scatter = {
    id: "windows", tab: "dw", name: "each output adds its window", loops: "dw",
    about: "Step through <b>dy</b>: each element, times the whole window of x that its output looked at, is <i>added</i> to dw. After the last position dw is complete.",
    steps: () => range(conv.P * conv.Q).map((t) => ({ figure: "dy", panel: 0, i: Math.floor(t / conv.Q), j: t % conv.Q })),
    figures: collect.figures,
    select: (state, { i: p, j: q }) => {
      const cg = state.c % conv.Cg, taps = range(conv.R * conv.S).map((tap) => [Math.floor(tap / conv.S), tap % conv.S]);
      const uses = taps.map(([r, s]) => conv.use(state.n, state.k, cg, p, q, r, s));
      const soFar = Numbers.zeros([conv.R, conv.S]);
      for (const [r, s] of taps)
        for (const use of conv.usesOfWeight(state.k, cg, r, s)) if (use.n < state.n || (use.n === state.n && numberOf(use) <= p * conv.Q + q)) soFar.add(use.dy * use.x, r, s);
      return {
        marks: [{ figure: "dy", panel: 0, i: p, j: q, role: "chosen" }, ...uses.map((use) => figures.inX(use, channel(state), use.tap)), ...uses.map((use) => ({ figure: "dw", panel: 0, i: use.r, j: use.s, product: use.tap, role: use.inside ? "factor" : "silent" }))],
        values: [{ figure: "dw", panel: 0, value: (r, s) => soFar.at(r, s) }],
        sum: { name: `dy[${state.n}, ${state.k}, ${p}, ${q}]`, total: uses[0].dy, how: "times each element of its window, is added to dw", rows: [{ products: uses.map((use) => ({ ...product(use, use.tap, "dy", "x"), say: use.inside ? `→ dw[${use.r}, ${use.s}]` : "padding" })) }] },
        indices: { n: state.n, k: state.k, c: state.c, cg, p, q },
      };
    },
  };

  const [sh, sw] = conv.stride;
  const correlation = {
    id: "dilated", tab: "dw", name: "a correlation of x with dy", loops: "dwCorrelation", steps, start: middle,
    about: `A convolution once more: x is the input and <b>dy is the filter</b>, <b>dilated by the stride</b> (${sh} × ${sw}) and <b>moved by the dilation</b> (${conv.dilation.join(" × ")}). Stride and dilation have changed places; as long as both are 1, a mistake here does not show.`,
    figures: (state) => [
      figures.x(state, channel(state), { sign: "∗" }),
      { id: "filter", title: "dy, dilated", say: `${sh - 1} and ${sw - 1} zeros between`, sign: "=", panels: [{ name: conv.K > 1 ? `k ${state.k}` : "", rows: (conv.P - 1) * sh + 1, cols: (conv.Q - 1) * sw + 1,
        value: (i, j) => (i % sh || j % sw ? 0 : conv.dy.at(state.n, state.k, i / sh, j / sw)), kind: (i, j) => (i % sh || j % sw ? "pad" : "") }] },
      figures.dw(state)],
    select: (state, { i: r, j: s }) => {
      const { uses, sum, indices } = sumOf(state, r, s);
      const marks = mine(state, uses).flatMap((use) => [figures.inX(use, channel(state), numberOf(use)), { figure: "filter", panel: 0, i: use.p * sh, j: use.q * sw, product: numberOf(use), role: use.inside ? "factor" : "silent" }]);
      return { marks: [...marks, chosen(r, s)], sum, indices };
    },
  };

  const rows = conv.P * conv.Q, columns = conv.Cg * conv.R * conv.S, taps = conv.R * conv.S, whole = rows * columns <= READABLE;
  const entry = (state, t, column) => conv.column(state.n, figures.channel(state, Math.floor(column / taps)), Math.floor((column % taps) / conv.S), column % conv.S, Math.floor(t / conv.Q), t % conv.Q);
  const unfolded = {
    id: "transposedColumns", tab: "dw", name: "a product of matrices", loops: "dwColumns",
    about: `With U, the unfolded x of the forward: Y = W U, so dW = dY Uᵀ. Uᵀ has a row for each position and a column for each weight (${rows} × ${columns})${whole ? "" : "; only the column of the chosen weight is drawn, folded to the shape of dy"}.
      ${conv.N > 1 ? "Every image has its own U; their products are added." : ""}`,
    steps: () => range(columns).map((j) => ({ figure: "dW", panel: 0, i: 0, j })),
    figures: (state) => [
      { id: "dY", title: "dY", say: `row ${state.k}`, sign: "·", panels: [{ matrix: whole, rows: whole ? 1 : conv.P, cols: whole ? rows : conv.Q, value: (i, j) => conv.dy.data[(state.n * conv.K + state.k) * rows + i * conv.Q + j] }] },
      { id: "U", title: whole ? "Uᵀ" : "column of Uᵀ", say: whole ? "a row for each position" : "as P × Q", sign: "=", panels: [{ matrix: whole, rows: whole ? rows : conv.P, cols: whole ? columns : conv.Q, value: (i, j) => (whole ? entry(state, i, j) : entry(state, i * conv.Q + j, 0)) }] },
      { id: "dW", title: "dW", say: `row ${state.k}: dw as one line`, panels: [{ matrix: whole, rows: 1, cols: columns, value: (_, j) => conv.dw.data[state.k * columns + j] }] }],
    select: (state, { j: column }) => {
      const cg = Math.floor(column / taps), tap = column % taps;
      const { uses, sum, indices } = sumOf({ ...state, c: figures.channel(state, cg) }, Math.floor(tap / conv.S), tap % conv.S);
      const marks = mine(state, uses).flatMap((use) => {
        const t = numberOf(use), role = use.inside ? "factor" : "silent";
        return [{ figure: "dY", panel: 0, ...(whole ? { i: 0, j: t } : { i: use.p, j: use.q }), product: t, role }, { figure: "U", panel: 0, ...(whole ? { i: t, j: column } : { i: use.p, j: use.q }), product: t, role }];
      });
      return {
        marks: [...marks, { figure: "dW", panel: 0, i: 0, j: column, role: "chosen" }], sum: { ...sum, name: `dW[${state.k}, ${column}] = ${sum.name}` }, indices,
        values: whole ? [] : [{ figure: "U", panel: 0, value: (i, j) => entry(state, i * conv.Q + j, column) }],
      };
    },
  };

  const bias = {
    id: "bias", tab: "dw", name: "db, the bias", loops: "db",
    about: "The bias is added to every position of its filter's output, so its gradient is the sum of all of <b>dy</b>'s elements there, of all images.",
    steps: () => range(conv.K).map((k) => ({ figure: "db", panel: 0, i: 0, j: k })),
    start: (state) => state.k,
    figures: (state) => [
      figures.outputs("dy", "gradient of the output", state, figures.shownFilters(state), { sign: "→" }),
      { id: "db", title: "db", say: "gradient of the bias", panels: [{ rows: 1, cols: conv.K, value: (_, k) => conv.db.at(k) }] }],
    select: (state, { j: k }) => {
      const filters = figures.shownFilters(state);
      const every = range(conv.N).flatMap((n) => range(conv.P * conv.Q).map((t) => ({ n, k, p: Math.floor(t / conv.Q), q: t % conv.Q, inside: true, dy: conv.dy.data[(n * conv.K + k) * conv.P * conv.Q + t] })));
      return {
        marks: [...(filters.includes(k) ? mine(state, every).map((use) => figures.inOutputs("dy", use, filters, numberOf(use))) : []), { figure: "db", panel: 0, i: 0, j: k, role: "chosen" }],
        sum: { name: `db[${k}]`, rows: rowsBy(every, (use) => use.n, (n) => `image ${n}`, (use) => product(use, numberOf(use), "dy"), (n) => n === state.n), total: every.reduce((sum, use) => sum + use.dy, 0), engine: conv.db.at(k), how: `the sum of ${every.length} gradients` },
        indices: { k },
      };
    },
  };
  return [collect, scatter, correlation, unfolded, bias];
}
