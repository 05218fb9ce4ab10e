// Arrays as the engine wrote them (a shape, and float32 numbers in base64), and numbers as people read them.

export class Numbers {
  constructor(shape, data) {
    this.shape = shape;
    this.data = data;
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, extent) => product * extent, 1));
    [this.first, this.second, this.third, this.fourth] = [...strides, 0, 0, 0, 0]; // at most four axes
  }

  static decode({ shape, base64 }) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return new Numbers(shape, new Float32Array(bytes.buffer));
  }

  static zeros(shape) {
    return new Numbers(shape, new Float64Array(shape.reduce((product, extent) => product * extent, 1)));
  }

  offset(i, j = 0, k = 0, l = 0) {
    return i * this.first + j * this.second + k * this.third + l * this.fourth;
  }

  // The other way round: the index of an offset.
  index(offset) {
    const index = [];
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      index.unshift(offset % this.shape[axis]);
      offset = Math.floor(offset / this.shape[axis]);
    }
    return index;
  }

  at(i, j, k, l) {
    return this.data[this.offset(i, j, k, l)];
  }

  add(value, i, j, k, l) {
    this.data[this.offset(i, j, k, l)] += value;
  }

  // Of the finite ones, by their size.
  largest() {
    return this.data.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);
  }
}

// A number with so many significant digits; whole numbers as they are, and a real minus sign.
export function text(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(digits));
  const words = Number.isInteger(rounded) && Math.abs(rounded) < 1e6 ? String(rounded) : Math.abs(rounded) >= 1e-4 ? String(rounded) : rounded.toExponential(digits - 1);
  return words.replace("-", "−").replace(/^−0$/, "0");
}

// The same for a place as small as a cell.
export function brief(value) {
  if (!Number.isFinite(value)) return text(value);
  const words = Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
  return Number.isInteger(value) ? text(value) : words.replace("-", "−").replace(/^−(0\.?0*)$/, "$1");
}

// A factor in a product: negative numbers in parentheses.
export function factor(value) {
  return value < 0 ? `(${text(value)})` : text(value);
}

export function range(count, first = 0) {
  return Array.from({ length: count }, (_, i) => first + i);
}
