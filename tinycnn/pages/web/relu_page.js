// The rectifier: y = max(x, 0). Its gradient passes where y is above 0, and stops elsewhere.

import { Desk } from "./desk.js";
import { Numbers, range } from "./numbers.js";

export function reluPage(data) {
  const [N, C, H, W] = data.arrays.x.shape, state = { n: 0, c: 0 };
  const arrays = Object.fromEntries(Object.entries(data.arrays).map(([name, array]) => [name, Numbers.decode(array)]));
  const grid = (id, say, sign) => (state) => ({ id, title: id, say, sign, panels: [{ name: C > 1 ? `c ${state.c}` : "", rows: H, cols: W, value: (h, v) => arrays[id].at(state.n, state.c, h, v) }] });
  const steps = (figure) => () => range(H * W).map((at) => ({ figure, panel: 0, i: Math.floor(at / W), j: at % W }));
  const at = (figure, i, j, product, role = "factor") => ({ figure, panel: 0, i, j, product, role });
  const value = (id, state, h, v) => ({ name: `${id}[${state.n}, ${state.c}, ${h}, ${v}]`, value: arrays[id].at(state.n, state.c, h, v) });
  const gate = (state, h, v) => Number(arrays.x.at(state.n, state.c, h, v) > 0);

  const view = (id, tab, from, to, about, figures) => ({
    id, tab, name: "", loops: to, about, steps: steps(to), figures: (state) => figures.map((figure) => figure(state)),
    select: (state, { i: h, j: v }) => {
      const open = gate(state, h, v), input = value(from, state, h, v), output = value(to, state, h, v);
      return {
        marks: [at(from, h, v, 0, open ? "factor" : "silent"), at(to, h, v, undefined, "chosen"), ...(from === "x" ? [] : [at("x", h, v, 0, open ? "factor" : "silent")])],
        sum: { name: output.name, total: open * input.value, engine: output.value, how: open ? "x is above 0: it passes" : "x is not above 0: nothing passes (at 0 itself there is no derivative; by convention it is 0)", rows: [{ products: [{ number: 0, silent: !open, factors: [{ name: "x > 0", value: open }, input] }] }] },
        indices: { n: state.n, c: state.c, h, v },
      };
    },
  });
  const views = [
    view("forward", "forward", "x", "y", "Choose an element of <b>y</b>: it is x where x is above 0, else 0.", [grid("x", "input", "→"), grid("y", "output")]),
    view("backward", "dx", "dy", "dx", "Choose an element of <b>dx</b>: the gradient passes where x was above 0. Where it was not, no change of x changes y, and dx is 0 whatever dy is.", [grid("x", "input"), grid("dy", "gradient of the output", "→"), grid("dx", "gradient of the input")]),
  ];
  const desk = new Desk([{ id: "forward", name: "Forward: y" }, { id: "dx", name: "Backward: dx" }], views, state, data.loops);
  desk.selector("image n", "n", range(N), (n) => (state.n = n));
  desk.selector("channel c", "c", range(C), (c) => (state.c = c));
  return () => [
    { name: "y", engine: arrays.y, here: (...at) => Math.max(arrays.x.at(...at), 0), length: 1 },
    { name: "dx", engine: arrays.dx, here: (...at) => (arrays.x.at(...at) > 0 ? arrays.dy.at(...at) : 0), length: 1 },
  ];
}
