// Views of dx: what each input collects, what each output scatters, the correlation with the turned filter, the transposed matrix.

import { READABLE, product, rowsBy } from "./conv_figures.js";
import { Numbers, range } from "./numbers.js";

export function inputGradViews(conv, figures) {
  const steps = () => range(conv.H * conv.W).map((at) => ({ figure: "dx", panel: 0, i: Math.floor(at / conv.W), j: at % conv.W }));
  const busiest = () => { // begin where most is to be seen
    const used = range(conv.H * conv.W).map((at) => conv.timesUsed(Math.floor(at / conv.W), at % conv.W));
    return used.indexOf(Math.max(...used));
  };
  const filtersOf = (state, filters) => filters.map((k) => [k, state.c % conv.Cg, `k ${k}`]);

  function sumOf(state, h, v) {
    const uses = conv.usesOfInput(state.n, state.c, h, v), filters = figures.shownFilters(state);
    return {
      uses, filters, indices: { n: state.n, c: state.c, cg: state.c % conv.Cg, h, v },
      sum: {
        name: `dx[${state.n}, ${state.c}, ${h}, ${v}]`,
        rows: rowsBy(uses, (use) => use.k, (k) => `filter ${k}`, (use) => product(use, use.tap, "w", "dy"), (k) => filters.includes(k)),
        total: uses.reduce((sum, use) => sum + use.w * use.dy, 0),
        engine: conv.dx.at(state.n, state.c, h, v),
        ways: [{ name: "collected", value: uses.reduce((sum, use) => sum + use.w * use.dy, 0) }, { name: "as a correlation", value: conv.dxByCorrelation(state.n, state.c, h, v) },
          { name: "by the transposed matrix", value: conv.dxByMatrix(state.n, state.c, h, v) }],
      },
    };
  }
  const chosen = (h, v) => ({ figure: "dx", panel: 0, i: h, j: v, role: "chosen" });

  const collect = {
    id: "collect", tab: "dx", name: "each input collects", loops: "dx", steps, start: busiest,
    about: "Choose an element of <b>dx</b>: it collects from every output that used this input, the gradient of that output times the weight through which it was used. Outputs and weights of one product share a colour and a letter.",
    figures: (state) => {
      const filters = figures.shownFilters(state);
      return [figures.outputs("dy", "gradient of the output", state, filters, { sign: "∗ᵀ" }), figures.w(state, filtersOf(state, filters), { sign: "=" }), figures.dx(state)];
    },
    select: (state, { i: h, j: v }) => {
      const { uses, filters, sum, indices } = sumOf(state, h, v);
      const marks = uses.filter((use) => filters.includes(use.k)).flatMap((use) => [figures.inOutputs("dy", use, filters, use.tap), figures.inW(use, filters.indexOf(use.k), use.tap)]);
      return { marks: [...marks, chosen(h, v)], sum, indices };
    },
  };

  const scatter = {
    id: "scatter", tab: "dx", name: "each output scatters", loops: "dx",
    about: "The forward, read backwards: step through <b>dy</b>. Each element, times the filter, is <i>added</i> to the window that its output once looked at. Windows overlap, so dx grows step by step; what is written instead of added would be lost.",
    steps: (state) => figures.shownFilters(state).flatMap((_, panel) => range(conv.P * conv.Q).map((t) => ({ figure: "dy", panel, i: Math.floor(t / conv.Q), j: t % conv.Q }))),
    figures: collect.figures,
    select: (state, { panel, i: p, j: q }) => {
      const filters = figures.shownFilters(state), k = filters[panel];
      const uses = range(conv.R * conv.S).map((tap) => conv.use(state.n, k, state.c % conv.Cg, p, q, Math.floor(tap / conv.S), tap % conv.S));
      const soFar = Numbers.zeros([conv.H, conv.W]);
      for (const filter of filters.slice(0, panel + 1))
        for (let t = 0; t < (filter === k ? p * conv.Q + q + 1 : conv.P * conv.Q); t++)
          for (let tap = 0; tap < conv.R * conv.S; tap++) {
            const use = conv.use(state.n, filter, state.c % conv.Cg, Math.floor(t / conv.Q), t % conv.Q, Math.floor(tap / conv.S), tap % conv.S);
            if (use.inside) soFar.add(use.w * use.dy, use.h, use.v);
          }
      const landed = uses.filter((use) => use.inside);
      return {
        marks: [{ figure: "dy", panel, i: p, j: q, role: "chosen" }, ...uses.map((use) => figures.inW(use, panel, use.tap)), ...landed.map((use) => ({ figure: "dx", panel: 0, i: use.h, j: use.v, product: use.tap, role: "factor" }))],
        values: [{ figure: "dx", panel: 0, value: (h, v) => soFar.at(h, v) }],
        sum: {
          name: `dy[${state.n}, ${k}, ${p}, ${q}]`, total: uses[0].dy, how: `goes, times each weight, to ${landed.length} of the ${uses.length} places of its window${landed.length < uses.length ? "; the others are padding, which needs no gradient" : ""}`,
          rows: [{ products: uses.map((use) => ({ ...product(use, use.tap, "w", "dy"), say: use.inside ? `→ dx[${use.h}, ${use.v}]` : "padding: cut off" })) }],
        },
        indices: { n: state.n, k, p, q, c: state.c, cg: state.c % conv.Cg },
      };
    },
  };

  const [front] = [conv.front()];
  const height = conv.H + conv.dilation[0] * (conv.R - 1), width = conv.W + conv.dilation[1] * (conv.S - 1);
  const correlation = {
    id: "correlation", tab: "dx", name: "a correlation with the turned filter", loops: "dxCorrelation", steps, start: busiest,
    about: `An ordinary convolution again, with stride 1: <b>dy</b> gets ${conv.stride[0] - 1} row${conv.stride[0] === 2 ? "" : "s"} and ${conv.stride[1] - 1} column${conv.stride[1] === 2 ? "" : "s"} of zeros between its elements (stride − 1),
      ${front[0]} and ${front[1]} before the first (dilation·(R−1) − padding${Math.min(...front) < 0 ? ": negative, so that many are cut off" : ""}), and the filter is turned by 180°${Math.max(...conv.dilation) > 1 ? " and keeps its dilation" : ""}.`,
    figures: (state) => {
      const filters = figures.shownFilters(state);
      const spread = (k) => (i, j) => { const at = conv.spreadAt(i, j); return at ? conv.dy.at(state.n, k, ...at) : 0; };
      return [
        { id: "spread", title: "dy, spread", say: "zeros between and around", sign: "∗",
          panels: filters.map((k) => ({ name: conv.K > 1 ? `k ${k}` : "", rows: height, cols: width, value: spread(k), kind: (i, j) => (conv.spreadAt(i, j) ? "" : "pad") })) },
        figures.w(state, filtersOf(state, filters), { sign: "=", turned: true }), figures.dx(state)];
    },
    select: (state, { i: h, j: v }) => {
      const { uses, filters, sum, indices } = sumOf(state, h, v);
      const real = (k, tap) => uses.some((use) => use.k === k && use.tap === tap);
      const window = filters.flatMap((k, panel) => range(conv.R * conv.S).flatMap((tap) => {
        const r = conv.R - 1 - Math.floor(tap / conv.S), s = conv.S - 1 - (tap % conv.S), role = real(k, tap) ? "factor" : "silent";
        return [{ figure: "spread", panel, i: h + r * conv.dilation[0], j: v + s * conv.dilation[1], product: tap, role }, { figure: "w", panel, i: r, j: s, product: tap, role }];
      }));
      return { marks: [...window, chosen(h, v)], sum: { ...sum, how: `${sum.rows.reduce((count, row) => count + row.products.length, 0)} products that are not with a zero; the zeros of the window add nothing` }, indices };
    },
  };

  const rows = conv.H * conv.W, columns = conv.P * conv.Q, whole = rows * columns <= READABLE;
  const transposed = {
    id: "transposed", tab: "dx", name: "the transposed matrix", loops: "dxMatrix", start: busiest,
    about: `The forward is linear in x, so it is a matrix: y = A x, with a row for each output. The gradient is its transposed: dx = Aᵀ dy, ${rows} × ${columns} for one channel and one filter.
      ${whole ? "Each row of Aᵀ belongs to an input and says through which weights which outputs used it; an empty row is an input that nothing used." : `That is ${(rows * columns).toLocaleString("en")} entries, so only the row of the chosen input is drawn, folded to the shape of dy.`}`,
    steps: whole ? () => range(rows).map((i) => ({ figure: "dx", panel: 0, i, j: 0 })) : steps,
    figures: (state) => {
      const filters = figures.shownFilters(state), cg = state.c % conv.Cg;
      const at = (i, t, k) => conv.matrix(k, cg, Math.floor(t / conv.Q), t % conv.Q, Math.floor(i / conv.W), i % conv.W);
      if (!whole) return [{ id: "A", title: "row of Aᵀ", say: "as P × Q", sign: "·", panels: filters.map((k) => ({ name: conv.K > 1 ? `k ${k}` : "", rows: conv.P, cols: conv.Q, value: (p, q) => at(0, p * conv.Q + q, k) })) },
        figures.outputs("dy", "gradient of the output", state, filters, { sign: "=" }), figures.dx(state)];
      return [
        { id: "A", title: "Aᵀ", say: "a row for each input, a column for each output", sign: "·", panels: filters.map((k) => ({ name: conv.K > 1 ? `k ${k}` : "", matrix: true, rows, cols: columns, value: (i, t) => at(i, t, k), kind: (i, t) => (at(i, t, k) === 0 ? "zero" : "") })) },
        { id: "dy", title: "dy", say: "as a column", sign: "=", panels: filters.map((k) => ({ name: conv.K > 1 ? `k ${k}` : "", matrix: true, rows: columns, cols: 1, value: (t) => conv.dy.data[(state.n * conv.K + k) * columns + t] })) },
        { id: "dx", title: "dx", say: "as a column", panels: [{ name: "", matrix: true, rows, cols: 1, kind: (i) => figures.kind(Math.floor(i / conv.W), i % conv.W), value: (i) => conv.dx.data[(state.n * conv.C + state.c) * rows + i] }] },
      ];
    },
    select: (state, { i, j }) => {
      const [h, v] = whole ? [Math.floor(i / conv.W), i % conv.W] : [i, j];
      const { uses, filters, sum, indices } = sumOf(state, h, v);
      const marks = uses.filter((use) => filters.includes(use.k)).flatMap((use) => {
        const panel = filters.indexOf(use.k), t = use.p * conv.Q + use.q;
        const [inA, inDy] = whole ? [{ i: h * conv.W + v, j: t }, { i: t, j: 0 }] : [{ i: use.p, j: use.q }, { i: use.p, j: use.q }];
        return [{ figure: "A", panel, ...inA, product: use.tap, role: "factor" }, { figure: "dy", panel, ...inDy, product: use.tap, role: "factor" }];
      });
      const row = (k) => (p, q) => conv.matrix(k, state.c % conv.Cg, p, q, h, v);
      return { marks: [...marks, { figure: "dx", panel: 0, i, j, role: "chosen" }], sum, indices, values: whole ? [] : filters.map((k, panel) => ({ figure: "A", panel, value: row(k) })) };
    },
  };
  return [collect, scatter, correlation, transposed];
}
