// A figure: one or more grids of numbers under a title. Cells that take part in the sum that is shown carry the colour and the letter of their product.
//
//   figure = { id, title, say, panels: [panel], sign }      sign: what stands between this figure and the next (∗, =, ...)
//   panel  = { name, rows, cols, first: [row, column] that the first cell is called, value(i, j), kind(i, j): "pad", "never", "zero" or "", matrix: smaller cells }
//   mark   = { figure, panel, i, j, product, role }         product: its number; role: "chosen" (the sum itself), "factor", "silent" (a factor that meets a zero)

import { brief, range } from "./numbers.js";

const CROWDED = 20; // columns from which cells are too small for numbers; hovering and the sum below still tell them

// Neighbouring products get distant hues: each turns the wheel by the golden angle.
export function hue(product) {
  return (250 + product * 137.508) % 360;
}

// a ... z, then numbers
export function letter(product) {
  return product < 26 ? String.fromCharCode(97 + product) : String(product + 1);
}

export class Figure {
  constructor(spec, selectable) {
    this.spec = spec;
    this.tables = [];
    this.cells = [];
    this.marked = [];
    this.element = document.createElement("figure");
    this.element.dataset.figure = spec.id;
    const caption = document.createElement("figcaption");
    caption.innerHTML = `<b>${spec.title}</b>${spec.say ? `<span>${spec.say}</span>` : ""}`;
    this.element.append(caption);
    spec.panels.forEach((panel, number) => this.element.append(this.grid(panel, number, selectable)));
  }

  grid(panel, number, selectable) {
    const { rows, cols, first = [0, 0] } = panel;
    const table = document.createElement("table");
    table.className = `grid${cols > CROWDED ? " crowded" : ""}${panel.matrix ? " matrix" : ""}${selectable ? " selectable" : ""}`;
    table.style.setProperty("--cols", cols + 1);
    table.dataset.panel = number;
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", `${this.spec.title.replace(/<[^>]*>/g, "")}${panel.name ? `, ${panel.name}` : ""}: ${rows} rows, ${cols} columns${selectable ? "; choose an element with the arrow keys" : ""}`);
    const heads = `<tr><th class="corner" scope="col">${panel.name ?? ""}</th>${range(cols, first[1]).map((j) => `<th scope="col">${brief(j)}</th>`).join("")}</tr>`;
    const body = range(rows).map((i) => `<tr>${`<th scope="row">${brief(first[0] + i)}</th>`}${range(cols).map((j) => `<td role="gridcell" data-i="${i}" data-j="${j}" class="${panel.kind?.(i, j) ?? ""}"></td>`).join("")}</tr>`);
    table.innerHTML = heads + body.join("");
    this.tables[number] = table;
    this.cells[number] = [...table.querySelectorAll("td")];
    if (selectable) this.cells[number][0]?.setAttribute("tabindex", "0");
    this.fill(number, panel.value);
    return table;
  }

  cell(panel, i, j) {
    return this.cells[panel]?.[i * this.spec.panels[panel].cols + j];
  }

  // Show these values; colours are relative to the largest.
  fill(panel, value) {
    const { rows, cols } = this.spec.panels[panel];
    const values = range(rows * cols).map((at) => value(Math.floor(at / cols), at % cols));
    const most = Math.max(...values.map((number) => Math.abs(number ?? 0)), 1e-30);
    this.cells[panel].forEach((cell, at) => {
      const number = values[at];
      cell.textContent = number === null || number === undefined ? "" : brief(number);
      cell.style.setProperty("--strength", `${((Math.abs(number ?? 0) / most) * 100).toFixed(0)}%`);
      cell.classList.toggle("negative", number < 0);
      cell.classList.toggle("nothing", number === 0);
    });
  }

  clear() {
    for (const cell of this.marked) {
      cell.classList.remove("chosen", "factor", "silent");
      delete cell.dataset.product;
      cell.style.removeProperty("--hue");
    }
    this.marked = [];
  }

  mark({ panel, i, j, product, role }) {
    const cell = this.cell(panel, i, j);
    if (!cell) return;
    cell.classList.add(role);
    if (product !== undefined) {
      cell.style.setProperty("--hue", hue(product));
      cell.dataset.product = letter(product);
    }
    this.marked.push(cell);
  }

  // The one cell of this figure that the Tab key reaches. (It may have the focus, which it would lose with its tabindex.)
  reach(panel, i, j) {
    const reached = this.cell(panel, i, j);
    for (const cells of this.cells) for (const cell of cells) if (cell !== reached) cell.removeAttribute("tabindex");
    reached?.setAttribute("tabindex", "0");
  }
}
