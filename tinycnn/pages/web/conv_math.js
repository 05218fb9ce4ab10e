// Convolution's arithmetic, written anew in JavaScript, so that the page can check the engine's numbers.
//
// Everything is made of products  dy[n, k, p, q] * w[k, c, r, s] * x[n, c, h, v]  with  h = p*stride + r*dilation - padding, v likewise from q and s.
// Such a product is called a use here: position (p, q) uses input (h, v) through weight (r, s). y, dx and dw sum over the uses of one output, one input, one weight.

import { Numbers } from "./numbers.js";

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

  // One use. c: the input channel; cg: the same, counted within its group.
  use(n, k, cg, p, q, r, s) {
    const h = this.place(0, p, r), v = this.place(1, q, s);
    const inside = h >= 0 && h < this.H && v >= 0 && v < this.W;
    const c = Math.floor(k / this.Kg) * this.Cg + cg;
    return { n, k, c, cg, p, q, r, s, h, v, inside, tap: r * this.S + s, w: this.w.at(k, cg, r, s), x: inside ? this.x.at(n, c, h, v) : 0, dy: this.dy.at(n, k, p, q) };
  }

  usesOfOutput(n, k, p, q) {
    const uses = [];
    for (let cg = 0; cg < this.Cg; cg++)
      for (let r = 0; r < this.R; r++) for (let s = 0; s < this.S; s++) uses.push(this.use(n, k, cg, p, q, r, s));
    return uses;
  }

  usesOfInput(n, c, h, v) {
    const uses = [], group = Math.floor(c / this.Cg);
    for (let k = group * this.Kg; k < (group + 1) * this.Kg; k++)
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
              const c = Math.floor(k / this.Kg) * this.Cg + cg;
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

  // dx as an ordinary correlation: of dy, with stride - 1 zeros between its elements and zeros around it, with the filters turned by half a circle.
  dxByCorrelation() {
    const dx = Numbers.zeros(this.x.shape);
    const [front, height, width] = [this.front(), this.H + this.dilation[0] * (this.R - 1), this.W + this.dilation[1] * (this.S - 1)];
    for (let n = 0; n < this.N; n++)
      for (let k = 0; k < this.K; k++) {
        const spread = Numbers.zeros([height, width]);
        for (let p = 0; p < this.P; p++)
          for (let q = 0; q < this.Q; q++) {
            const i = p * this.stride[0] + front[0], j = q * this.stride[1] + front[1];
            if (i >= 0 && i < height && j >= 0 && j < width) spread.add(this.dy.at(n, k, p, q), i, j);
          }
        for (let cg = 0; cg < this.Cg; cg++)
          for (let r = 0; r < this.R; r++)
            for (let s = 0; s < this.S; s++) {
              const turned = this.w.at(k, cg, this.R - 1 - r, this.S - 1 - s), c = Math.floor(k / this.Kg) * this.Cg + cg;
              for (let h = 0; h < this.H; h++)
                for (let v = 0; v < this.W; v++)
                  dx.data[((n * this.C + c) * this.H + h) * this.W + v] += turned * spread.data[(h + r * this.dilation[0]) * width + v + s * this.dilation[1]];
            }
      }
    return dx;
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

  // dx[n, c, h, v] as the product of row (h, v) of the transposed matrix with dy.
  dxByMatrix(n, c, h, v) {
    let sum = 0;
    const group = Math.floor(c / this.Cg);
    for (let k = group * this.Kg; k < (group + 1) * this.Kg; k++)
      for (let p = 0; p < this.P; p++)
        for (let q = 0; q < this.Q; q++) sum += this.matrix(k, c % this.Cg, p, q, h, v) * this.dy.at(n, k, p, q);
    return sum;
  }

  // What the filter's tap sees at a position: the entry of the column matrix U at row (cg, r, s), column (p, q).
  column(n, c, r, s, p, q) {
    const h = this.place(0, p, r), v = this.place(1, q, s);
    return h >= 0 && h < this.H && v >= 0 && v < this.W ? this.x.at(n, c, h, v) : 0;
  }

  // y and dw as products of matrices: Y = W U, dW = dY U'. U is made one image and one group at a time.
  byColumns() {
    const y = Numbers.zeros(this.y.shape), dw = Numbers.zeros(this.w.shape), rows = this.Cg * this.R * this.S, columns = this.P * this.Q;
    for (let n = 0; n < this.N; n++)
      for (let g = 0; g < this.G; g++) {
        const U = new Float64Array(rows * columns);
        for (let row = 0; row < rows; row++)
          for (let t = 0; t < columns; t++) {
            const tap = row % (this.R * this.S), c = g * this.Cg + Math.floor(row / (this.R * this.S));
            U[row * columns + t] = this.column(n, c, Math.floor(tap / this.S), tap % this.S, Math.floor(t / this.Q), t % this.Q);
          }
        for (let k = g * this.Kg; k < (g + 1) * this.Kg; k++)
          for (let row = 0; row < rows; row++)
            for (let t = 0; t < columns; t++) {
              y.data[(n * this.K + k) * columns + t] += this.w.data[k * rows + row] * U[row * columns + t];
              dw.data[k * rows + row] += this.dy.data[(n * this.K + k) * columns + t] * U[row * columns + t];
            }
      }
    if (this.bias) y.data.forEach((_, i) => (y.data[i] += this.bias.at(Math.floor(i / columns) % this.K)));
    return { y, dw };
  }

  // dw as a correlation of x with dy as the filter: dy dilated by the stride, moved by the dilation. The loops of a convolution with both exchanged.
  dwByCorrelation() {
    const dw = Numbers.zeros(this.w.shape);
    for (let k = 0; k < this.K; k++)
      for (let cg = 0; cg < this.Cg; cg++)
        for (let r = 0; r < this.R; r++)
          for (let s = 0; s < this.S; s++)
            for (let n = 0; n < this.N; n++)
              for (let p = 0; p < this.P; p++)
                for (let q = 0; q < this.Q; q++) {
                  const h = r * this.dilation[0] + p * this.stride[0] - this.padding[0], v = s * this.dilation[1] + q * this.stride[1] - this.padding[1];
                  if (h >= 0 && h < this.H && v >= 0 && v < this.W)
                    dw.add(this.dy.at(n, k, p, q) * this.x.at(n, Math.floor(k / this.Kg) * this.Cg + cg, h, v), k, cg, r, s);
                }
    return dw;
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
