// The page of a block: all its nodes as maps, forward their values, backward their gradients. An element shows how it was made, of which others.

import { Block } from "./block_math.js";
import { product, rowsBy } from "./conv_figures.js";
import { Desk } from "./desk.js";
import { Numbers, range, text } from "./numbers.js";

export function blockPage(data) {
  const block = new Block(data), { x, y } = block.byId, state = { n: 0, c: 0, k: 0, m: 0 };
  const between = Math.max(...block.nodes.filter(({ id }) => id !== "x" && id !== "y").map(({ value }) => value.shape[1]));
  const desk = new Desk([{ id: "forward", name: "Forward" }, { id: "backward", name: "Backward" }], views(block), state, data.loops);
  const count = (node) => range(node.value.shape[1]);
  desk.selector("image n", "n", range(x.value.shape[0]), (n) => (state.n = n));
  desk.selector("map of x", "c", count(x), (c) => (state.c = c));
  desk.selector("of y", "k", count(y), (k) => (state.k = k));
  desk.selector("of those between", "m", range(between), (m) => (state.m = m));
  return () => block.nodes.filter(({ id }) => id !== "x").map((node) => ({ name: `${node.title}, ${node.say}: forward`, engine: node.value, here: node.here, length: terms(node) }))
    .concat(block.nodes.filter(({ id }) => id !== "y").map((node) => ({ name: `${node.title}: its gradient, from ${node.users.map(({ title }) => title).join(" and ")}`, engine: node.gradient, here: sumOf(block.contributions(node)), length: 100 * node.users.length })));
}

function terms(node) {
  return node.steps.reduce((most, step) => Math.max(most, step.w ? step.w.shape.slice(1).reduce((a, b) => a * b) : node.value.data.length), 4);
}

function sumOf(contributions) {
  const total = Numbers.zeros(contributions[0].part.shape);
  for (const { part } of contributions) part.data.forEach((value, i) => (total.data[i] += value));
  return total;
}

function views(block) {
  const { y } = block.byId;
  // The map of a node that is shown: of those that y is made of, the one that y's map comes from.
  function channel(state, node) {
    const last = y.inputs.indexOf(node.id), offset = y.done[0].first?.[last] ?? 0, C = node.value.shape[1];
    if (node.id === "x") return state.c;
    if (node.id === "y") return state.k;
    return last >= 0 ? (state.k >= offset && state.k < offset + C ? state.k - offset : 0) : Math.min(state.m, C - 1);
  }
  const figures = (array) => (state) => block.nodes.map((node) => {
    const [, , H, W] = node.value.shape, c = channel(state, node);
    return { id: node.id, title: node.title, say: node.say, place: node.place, from: node.inputs, backward: array === "gradient", panels: [{ name: `c ${c}`, rows: H, cols: W, value: (i, j) => node[array].at(state.n, c, i, j) }] };
  });
  const also = block.nodes.map(({ id }) => id);
  const across = (id) => () => { const [, , H, W] = block.byId[id].value.shape; return range(H * W).map((at) => ({ figure: id, panel: 0, i: Math.floor(at / W), j: at % W })); };
  const mark = (state, node, c, i, j, number) => (c === channel(state, node) ? [{ figure: node.id, panel: 0, i, j, product: number, role: "factor" }] : []);

  // How the first step made element (i, j) of channel c: products, marks, and where it started from.
  function made(state, node, c, i, j) {
    const [{ op }] = node.steps, [done] = node.done, inputs = node.inputs.map((id) => block.byId[id]), n = state.n;
    if (op === "conv") {
      const uses = done.conv.usesOfOutput(n, c, i, j).filter((use) => use.inside);
      return { start: done.conv.bias && { name: `bias[${c}]`, value: done.conv.bias.at(c) }, marks: uses.flatMap((use) => mark(state, inputs[0], use.c, use.h, use.v, use.tap)),
        rows: rowsBy(uses, (use) => use.c, (from) => `map ${from}`, (use) => product(use, use.tap, "w", "x"), (from) => from === channel(state, inputs[0])) };
    }
    const from = { cat: () => { const part = done.first.findLastIndex((first) => first <= c); return [[inputs[part], c - done.first[part], i, j]]; },
      add: () => inputs.map((input) => [input, c, i, j]),
      maxpool: () => { const [, C, H, W] = node.value.shape, winner = done.winners[((n * C + c) * H + i) * W + j]; return [[inputs[0], c, Math.floor(winner / W) % H, winner % W]]; } }[op]();
    return { marks: from.flatMap(([input, ...at], number) => mark(state, input, ...at, number)),
      rows: [{ products: from.map(([input, ch, h, v], number) => ({ number, factors: [{ name: `${input.title}[${n}, ${ch}, ${h}, ${v}]`, value: input.value.at(n, ch, h, v) }] })) }] };
  }

  const forward = {
    id: "forward", tab: "forward", name: "", loops: "forward", steps: across("y"), also, figures: figures("value"),
    about: "Choose an element of any map: what it was made of is coloured in the maps before it, and written out below.",
    select: (state, { figure, i, j }) => {
      const node = block.byId[figure], c = channel(state, node), chosen = { figure, panel: 0, i, j, role: "chosen" }, at = [state.n, c, i, j], name = `${node.title}[${at.join(", ")}]`;
      if (node.id === "x") return { marks: [chosen], sum: { name, rows: [], total: node.value.at(...at), how: "the input" } };
      const { marks, rows, start } = made(state, node, ...at.slice(1)), first = node.done[0].value.at(...at);
      const then = node.steps.slice(1).map((step, i) => {
        const after = text(node.done[i + 1].value.at(...at));
        if (step.op === "relu") return `then ReLU: ${after}`;
        const { middle, deviation } = node.done[i + 1].maps[c];
        return `then BatchNorm: (${text(first)} − ${text(middle)}) / ${text(deviation)} = ${after}`;
      });
      const verb = { conv: "a convolution", cat: "copied", add: "a sum", maxpool: "the largest of its window" }[node.steps[0].op];
      return { marks: [...marks, chosen], sum: { name, rows, start, total: node.here.at(...at), engine: node.value.at(...at), how: [`${verb}: ${text(first)}`, ...then].join(", ") } };
    },
  };
  const backward = {
    id: "backward", tab: "backward", name: "", loops: "backward", steps: across("x"), also, figures: figures("gradient"),
    start: () => { const [, , H, W] = block.byId.x.value.shape; return Math.floor(H / 2) * W + Math.floor(W / 2); },
    about: "The same maps, now with gradients: each says how the loss changes with that element. Choose one: it is the sum of what comes back from each node that used it. For <b>x</b> these are all paths through the block.",
    select: (state, { figure, i, j }) => {
      const node = block.byId[figure], c = channel(state, node), chosen = { figure, panel: 0, i, j, role: "chosen" }, at = [state.n, c, i, j], name = `gradient of ${node.title}[${at.join(", ")}]`;
      if (node.id === "y") return { marks: [chosen], sum: { name, rows: [], total: node.gradient.at(...at), how: "dy, where the backward begins" } };
      const parts = block.contributions(node);
      return {
        marks: [chosen, ...parts.flatMap(({ user }, number) => reached(state, node, user, c, i, j).flatMap((place) => mark(state, user, ...place, number)))],
        sum: { name, total: parts.reduce((sum, { part }) => sum + part.at(...at), 0), engine: node.gradient.at(...at), how: parts.length > 1 ? `from ${parts.length} nodes that used it` : "from the node that used it",
          rows: [{ products: parts.map(({ user, part }, number) => ({ number, factors: [{ name: `through ${user.title} (${user.say})`, value: part.at(...at) }] })) }] },
      };
    },
  };

  // The elements of a user that element (c, i, j) of node went into.
  function reached(state, node, user, c, i, j) {
    const [{ op }] = user.steps, [done] = user.done;
    if (op === "conv") return done.conv.usesOfInput(state.n, c, i, j).map((use) => [use.k, use.p, use.q]);
    if (op === "maxpool") {
      const [, C, H, W] = node.value.shape, mine = ((state.n * C + c) * H + i) * W + j;
      return range(H * W).filter((t) => done.winners[(state.n * C + c) * H * W + t] === mine).map((t) => [c, Math.floor(t / W), t % W]);
    }
    return [[c + (op === "cat" ? done.first[user.inputs.indexOf(node.id)] : 0), i, j]];
  }
  return [forward, backward];
}
