// Convolution's arithmetic, written anew in JavaScript, so that the page can check the engine's numbers.
//
// Everything is made of products  dy[n, k, p, q] * w[k, c, r, s] * x[n, c, h, v]  with  h = p*stride + r*dilation - padding, v likewise from q and s.
// Such a product is called a use here: position (p, q) uses input (h, v) through weight (r, s). y, dx and dw sum over the uses of one output, one input, one weight.

import { Numbers, range } from "./numbers.js";

export class Conv {
  constructor(data) {
    Object.assign(this, data.geometry); // N C H W K R S P Q G, stride, padding, dilation: [vertical, horizontal]
    this.Cg = this.C / this.G;
    this.Kg = this.K / this.G;
    for (const [name, array] of Object.entries(data.arrays)) this[name] = Numbers.decode(array);
    this.image = [this.H, this.W];
    this.positions = [this.P, this.Q];
  }

  // Where on an axis (0 vertical, 1 horizontal) the tap of a filter lies; may be in the padding.
  place(axis, position, tap) {
    return position * this.stride[axis] + tap * this.dilation[axis] - this.padding[axis];
  }

  // Which position has this tap over this place; null where none has.
  position(axis, place, tap) {
    const distance = place + this.padding[axis] - tap * this.dilation[axis];
    const position = distance / this.stride[axis];
    return Number.isInteger(position) && position >= 0 && position < this.positions[axis] ? position : null;
  }

  // The input channel that filter k sees as its cg-th, and the filters that see a channel: those of the same group.
  channelOf(k, cg) {
    return Math.floor(k / this.Kg) * this.Cg + cg;
  }

  filtersOf(c) {
    return range(this.Kg, Math.floor(c / this.Cg) * this.Kg);
  }

  // One use. c: the input channel; cg: the same, counted within its group.
  use(n, k, cg, p, q, r, s) {
    const h = this.place(0, p, r), v = this.place(1, q, s);
    const inside = h >= 0 && h < this.H && v >= 0 && v < this.W;
    return { n, k, c: this.channelOf(k, cg), cg, p, q, r, s, h, v, inside, tap: r * this.S + s, w: this.w.at(k, cg, r, s), x: inside ? this.x.at(n, this.channelOf(k, cg), h, v) : 0, dy: this.dy.at(n, k, p, q) };
  }

  usesOfOutput(n, k, p, q) {
    const uses = [];
    for (let cg = 0; cg < this.Cg; cg++)
      for (let r = 0; r < this.R; r++) for (let s = 0; s < this.S; s++) uses.push(this.use(n, k, cg, p, q, r, s));
    return uses;
  }

  usesOfInput(n, c, h, v) {
    const uses = [];
    for (const k of this.filtersOf(c))
      for (let r = 0; r < this.R; r++)
        for (let s = 0; s < this.S; s++) {
          const p = this.position(0, h, r), q = this.position(1, v, s);
          if (p !== null && q !== null) uses.push(this.use(n, k, c % this.Cg, p, q, r, s));
        }
    return uses;
  }

  usesOfWeight(k, cg, r, s) {
    const uses = [];
    for (let n = 0; n < this.N; n++)
      for (let p = 0; p < this.P; p++)
        for (let q = 0; q < this.Q; q++) uses.push(this.use(n, k, cg, p, q, r, s));
    return uses;
  }

  // ---- whole arrays, for the self-test

  // y, dx and dw from one walk over all uses: what the kernels do, and what the first view of each shows.
  byUses() {
    const y = Numbers.zeros(this.y.shape), dx = Numbers.zeros(this.x.shape), dw = Numbers.zeros(this.w.shape), db = Numbers.zeros([this.K]);
    for (let n = 0; n < this.N; n++)
      for (let k = 0; k < this.K; k++)
        for (let p = 0; p < this.P; p++)
          for (let q = 0; q < this.Q; q++) {
            const dy = this.dy.at(n, k, p, q);
            let sum = this.bias ? this.bias.at(k) : 0;
            db.data[k] += dy;
            for (let cg = 0; cg < this.Cg; cg++) {
              const c = this.channelOf(k, cg);
              for (let r = 0; r < this.R; r++) {
                const h = this.place(0, p, r);
                if (h < 0 || h >= this.H) continue;
                for (let s = 0; s < this.S; s++) {
                  const v = this.place(1, q, s);
                  if (v < 0 || v >= this.W) continue;
                  const i = ((n * this.C + c) * this.H + h) * this.W + v, j = ((k * this.Cg + cg) * this.R + r) * this.S + s;
                  sum += this.w.data[j] * this.x.data[i];
                  dx.data[i] += this.w.data[j] * dy;
                  dw.data[j] += this.x.data[i] * dy;
                }
              }
            }
            y.add(sum, n, k, p, q);
          }
    return { y, dx, dw, db };
  }

  // ---- the same element by element, in the other ways

  // y as a product of matrices: row k of W times column (p, q) of U.
  yByColumns(n, k, p, q) {
    let sum = this.bias ? this.bias.at(k) : 0;
    for (let cg = 0; cg < this.Cg; cg++)
      for (let r = 0; r < this.R; r++)
        for (let s = 0; s < this.S; s++) sum += this.w.at(k, cg, r, s) * this.column(n, this.channelOf(k, cg), r, s, p, q);
    return sum;
  }

  // dx as an ordinary correlation: of dy, with stride - 1 zeros between its elements and zeros around it, with the filters turned by half a circle.
  dxByCorrelation(n, c, h, v) {
    let sum = 0;
    for (const k of this.filtersOf(c))
      for (let r = 0; r < this.R; r++)
        for (let s = 0; s < this.S; s++) {
          const at = this.spreadAt(h + r * this.dilation[0], v + s * this.dilation[1]);
          if (at) sum += this.w.at(k, c % this.Cg, this.R - 1 - r, this.S - 1 - s) * this.dy.at(n, k, ...at);
        }
    return sum;
  }

  // Rows and columns of zeros before the first element of dy in that correlation: dilation*(R-1) - padding.
  front() {
    return [this.dilation[0] * (this.R - 1) - this.padding[0], this.dilation[1] * (this.S - 1) - this.padding[1]];
  }

  // What the spread dy holds at a place: [p, q], or null for a zero that was put in.
  spreadAt(i, j) {
    const front = this.front();
    const p = (i - front[0]) / this.stride[0], q = (j - front[1]) / this.stride[1];
    return Number.isInteger(p) && Number.isInteger(q) && p >= 0 && p < this.P && q >= 0 && q < this.Q ? [p, q] : null;
  }

  // The matrix of the forward, y = A x: what input (h, v) of channel cg counts in output (p, q) of filter k. Row (h, v) of its transposed makes dx.
  matrix(k, cg, p, q, h, v) {
    const r = (h - this.place(0, p, 0)) / this.dilation[0], s = (v - this.place(1, q, 0)) / this.dilation[1];
    return Number.isInteger(r) && Number.isInteger(s) && r >= 0 && r < this.R && s >= 0 && s < this.S ? this.w.at(k, cg, r, s) : 0;
  }

  // dx as the product of row (h, v) of the transposed matrix with dy.
  dxByMatrix(n, c, h, v) {
    let sum = 0;
    for (const k of this.filtersOf(c))
      for (let p = 0; p < this.P; p++)
        for (let q = 0; q < this.Q; q++) sum += this.matrix(k, c % this.Cg, p, q, h, v) * this.dy.at(n, k, p, q);
    return sum;
  }

  // What the filter's tap sees at a position: the entry of the column matrix U at row (cg, r, s), column (p, q).
  column(n, c, r, s, p, q) {
    const h = this.place(0, p, r), v = this.place(1, q, s);
    return h >= 0 && h < this.H && v >= 0 && v < this.W ? this.x.at(n, c, h, v) : 0;
  }

  // dw as a correlation of x with dy as the filter: dy dilated by the stride, moved by the dilation. The loops of a convolution with both exchanged.
  dwByCorrelation(k, cg, r, s) {
    let sum = 0;
    for (let n = 0; n < this.N; n++)
      for (let p = 0; p < this.P; p++)
        for (let q = 0; q < this.Q; q++) {
          const h = r * this.dilation[0] + p * this.stride[0] - this.padding[0], v = s * this.dilation[1] + q * this.stride[1] - this.padding[1];
          if (h >= 0 && h < this.H && v >= 0 && v < this.W) sum += this.dy.at(n, k, p, q) * this.x.at(n, this.channelOf(k, cg), h, v);
        }
    return sum;
  }

  // dw as a product of matrices: row k of dY times row (cg, r, s) of U, of all images.
  dwByColumns(k, cg, r, s) {
    let sum = 0;
    for (let n = 0; n < this.N; n++)
      for (let t = 0; t < this.P * this.Q; t++) sum += this.dy.data[(n * this.K + k) * this.P * this.Q + t] * this.column(n, this.channelOf(k, cg), r, s, Math.floor(t / this.Q), t % this.Q);
    return sum;
  }

  // How many (position, tap) pairs use an input, within one filter and channel.
  timesUsed(h, v) {
    const along = (axis, place, taps) => Array.from({ length: taps }, (_, tap) => this.position(axis, place, tap)).filter((position) => position !== null).length;
    return along(0, h, this.R) * along(1, v, this.S);
  }

  // At how many positions a weight meets the image rather than its padding.
  timesMet(r, s) {
    const along = (axis, tap) => Array.from({ length: this.positions[axis] }, (_, position) => this.place(axis, position, tap)).filter((place) => place >= 0 && place < this.image[axis]).length;
    return along(0, r) * along(1, s);
  }

  leftOver(h, v) {
    return this.timesUsed(h, v) === 0;
  }
}
