// A block of a network: nodes that layers make of each other, worked out forward and backward.
//
//   node = { id, title, say, place, inputs: [ids], steps: [step], value, gradient }      steps: the first takes the inputs, each next the one before
//   step = { op: "conv" | "norm" | "relu" | "maxpool" | "add" | "cat", ... }

import { Conv } from "./conv_math.js";
import { Numbers, range } from "./numbers.js";

// What a step gives, and how it sends a gradient back: { value, back(gradient) -> [gradient of each input] }.
const STEPS = {
  conv(step, [x]) {
    const conv = convOf(step, x), y = conv.byUses().y;
    return { value: y, conv, back: (dy) => [Object.assign(convOf(step, x), { dy }).byUses().dx] };
  },
  relu: (_, [x]) => ({ value: map(x, (value) => Math.max(value, 0)), back: (dy) => [map(dy, (value, i) => (x.data[i] > 0 ? value : 0))] }),
  add: (_, [a, b]) => ({ value: map(a, (value, i) => value + b.data[i]), back: (dy) => [dy, dy] }),
  cat(_, inputs) {
    const [N, , H, W] = inputs[0].shape, channels = inputs.map(({ shape }) => shape[1]), C = channels.reduce((a, b) => a + b), y = Numbers.zeros([N, C, H, W]);
    const first = channels.map((_, i) => channels.slice(0, i).reduce((a, b) => a + b, 0));
    const each = (visit) => inputs.forEach((x, i) => x.data.forEach((value, at) => visit(i, at, Math.floor(at / (channels[i] * H * W)) * C * H * W + first[i] * H * W + (at % (channels[i] * H * W)), value)));
    each((_, __, to, value) => (y.data[to] = value));
    return { value: y, first, back: (dy) => { const parts = inputs.map(({ shape }) => Numbers.zeros(shape)); each((i, at, from) => (parts[i].data[at] = dy.data[from])); return parts; } };
  },
  maxpool({ size, padding }, [x]) {
    const [N, C, H, W] = x.shape, y = Numbers.zeros(x.shape), winners = new Int32Array(x.data.length);
    for (let at = 0; at < x.data.length; at++) {
      const v = at % W, h = Math.floor(at / W) % H, plane = at - h * W - v;
      const seen = range(size, h - padding).filter((i) => i >= 0 && i < H).flatMap((i) => range(size, v - padding).filter((j) => j >= 0 && j < W).map((j) => plane + i * W + j));
      winners[at] = seen.reduce((best, one) => (x.data[one] > x.data[best] ? one : best));
      y.data[at] = x.data[winners[at]];
    }
    return { value: y, winners, back: (dy) => { const dx = Numbers.zeros([N, C, H, W]); winners.forEach((winner, at) => (dx.data[winner] += dy.data[at])); return [dx]; } };
  },
  // Batch normalisation in training: x̂ = (x - mean) / sqrt(variance + eps) over images and places;  dx = weight / sqrt(...) * (dy - mean(dy) - x̂ mean(dy x̂))
  norm(step, [x]) {
    const [N, C, H, W] = x.shape, weight = Numbers.decode(step.weight), bias = Numbers.decode(step.bias), y = Numbers.zeros(x.shape), unit = Numbers.zeros(x.shape);
    const mapOf = (c) => range(N).flatMap((n) => range(H * W, (n * C + c) * H * W)), mean = (at, value) => at.reduce((sum, i) => sum + value(i), 0) / at.length;
    const maps = range(C).map((c) => {
      const at = mapOf(c), middle = mean(at, (i) => x.data[i]), deviation = Math.sqrt(mean(at, (i) => (x.data[i] - middle) ** 2) + step.eps);
      for (const i of at) y.data[i] = (unit.data[i] = (x.data[i] - middle) / deviation) * weight.at(c) + bias.at(c);
      return { at, middle, deviation };
    });
    const back = (dy) => {
      const dx = Numbers.zeros(x.shape);
      maps.forEach(({ at, deviation }, c) => {
        const same = mean(at, (i) => dy.data[i]), along = mean(at, (i) => dy.data[i] * unit.data[i]);
        for (const i of at) dx.data[i] = (weight.at(c) / deviation) * (dy.data[i] - same - unit.data[i] * along);
      });
      return [dx];
    };
    return { value: y, maps, back };
  },
};

function map(array, change) {
  return new Numbers(array.shape, Float64Array.from(array.data, change));
}

function convOf(step, x) {
  const [N, C, H, W] = x.shape, [K, , R, S] = step.w.shape, [sh, sw] = step.stride, [top, left] = step.padding;
  const P = Math.floor((H + 2 * top - R) / sh) + 1, Q = Math.floor((W + 2 * left - S) / sw) + 1;
  const conv = new Conv({ geometry: { N, C, H, W, K, R, S, P, Q, G: 1, stride: step.stride, padding: step.padding, dilation: [1, 1] }, arrays: { w: step.w, ...(step.bias && { bias: step.bias }) } });
  return Object.assign(conv, { x, y: Numbers.zeros([N, K, P, Q]), dy: Numbers.zeros([N, K, P, Q]) });
}

export class Block {
  constructor(data) {
    this.nodes = data.nodes.map((node) => ({ ...node, value: Numbers.decode(node.value), gradient: Numbers.decode(node.gradient) }));
    this.byId = Object.fromEntries(this.nodes.map((node) => [node.id, node]));
    for (const node of this.nodes) {
      node.users = this.nodes.filter(({ inputs }) => inputs.includes(node.id));
      node.done = [];
      let inputs = node.inputs.map((id) => this.byId[id].value);
      for (const step of node.steps) {
        node.done.push(STEPS[step.op](step, inputs));
        inputs = [node.done.at(-1).value];
      }
      node.here = node.done.length ? inputs[0] : node.value;
      // What the node's gradient makes of each of its inputs, and its gradient behind each step on the way.
      node.behind = [node.gradient];
      for (const { back } of [...node.done].reverse()) {
        const parts = back(node.behind[0]);
        if (node.done[0].back === back) node.parts = parts;
        else node.behind.unshift(parts[0]);
      }
    }
  }

  // Contributions to a node's gradient: [{ user, part }]
  contributions(node) {
    return node.users.flatMap((user) => user.inputs.flatMap((id, i) => (id === node.id ? [{ user, part: user.parts[i] }] : [])));
  }
}
