// The desk: tabs and their views, the figures of the view that is open, the sum of the element that is chosen, and the ways to choose one.
//
//   view = { id, tab, name, about, figures(state) -> [figure, or { group: figures above each other }], steps(state) -> [choice], start(state): the first step,
//            also: names of other figures to choose from, select(state, choice) -> selection or null, loops: name of a loop nest }
//   choice = { figure, panel, i, j }
//   selection = { marks, sum, values: [{ figure, panel, value }], indices: { p: 1, ... } }       values: what a grid shows now, where it depends on the choice
//   sum = { name, start: { name, value }, rows: [{ name, products }], total, engine, how: in words, ways: [{ name, value }] that must give the same }
//   product = { number, factors: [{ name, value }], silent }

import { drawArrows } from "./arrows.js";
import { Figure, hue, letter } from "./grid.js";
import { factor, text } from "./numbers.js";

const LONGEST = 48; // products that are listed; of longer sums, the part of the panel that is shown
const MANY = 400; // marks from which small cells go without: the whole grid takes part
const SPEEDS = { slow: 1600, normal: 800, fast: 250 };
const find = (selector) => document.querySelector(selector);

export class Desk {
  constructor(tabs, views, state, loops) {
    Object.assign(this, { tabs, views, state, loops, step: 0, timer: null });
    this.places = {}; // where each view was left
    this.drawTabs();
    this.listen();
    this.open(views[0]);
  }

  // ---- tabs and views

  drawTabs() {
    find("#tabs").innerHTML = this.tabs.map(({ id, name }) => `<button role="tab" id="tab-${id}" data-tab="${id}" aria-controls="desk">${name}</button>`).join("");
    find("#tabs").addEventListener("click", ({ target }) => {
      const tab = target.closest("[data-tab]")?.dataset.tab;
      if (tab) this.open(this.views.find((view) => view.tab === tab));
    });
    find("#tabs").addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = this.tabs[(this.tabs.findIndex(({ id }) => id === this.view.tab) + by + this.tabs.length) % this.tabs.length];
      this.open(this.views.find((view) => view.tab === next.id));
      find(`#tab-${next.id}`).focus();
      event.preventDefault();
    });
    find("#views").addEventListener("change", ({ target }) => this.open(this.views.find(({ id }) => id === target.value)));
  }

  open(view) {
    this.stop();
    if (this.view) this.places[this.view.id] = this.step;
    this.view = view;
    for (const tab of find("#tabs").children) {
      const chosen = tab.dataset.tab === view.tab;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
    }
    find("#desk").setAttribute("aria-labelledby", `tab-${view.tab}`);
    const views = this.views.filter(({ tab }) => tab === view.tab);
    find("#views").hidden = views.length < 2;
    find("#views").innerHTML = `<legend>seen as</legend>${views.map(({ id, name }) => `<label><input type="radio" name="view" value="${id}"${id === view.id ? " checked" : ""}>${name}</label>`).join("")}`;
    find("#about").innerHTML = view.about;
    this.draw();
  }

  draw() {
    this.steps = this.view.steps(this.state);
    const selectable = new Set([...this.steps.map(({ figure }) => figure), ...(this.view.also ?? [])]);
    this.figures = {};
    const row = find("#figures");
    row.replaceChildren();
    for (const spec of this.view.figures(this.state)) {
      const home = spec.group ? row.appendChild(document.createElement("div")) : row;
      for (const one of spec.group ?? [spec]) home.append((this.figures[one.id] = new Figure(one, selectable.has(one.id))).element);
      if (spec.sign) row.insertAdjacentHTML("beforeend", `<span class="sign" aria-hidden="true">${spec.sign}</span>`);
    }
    // Figures with a place form a diagram: rows and columns, and arrows from those that they are made of.
    const diagram = Object.values(this.figures).filter(({ spec }) => spec.place);
    row.classList.toggle("diagram", diagram.length > 0);
    const columns = Math.max(...diagram.map(({ spec }) => spec.place[1]), 1);
    row.style.setProperty("--columns", columns);
    for (const { element, spec } of diagram) element.style.gridArea = `${spec.place[0]} / ${spec.from.length === 1 ? `${spec.place[1]}` : `1 / auto / ${columns + 1}`}`;
    this.go(Math.min(this.places[this.view.id] ?? this.view.start?.(this.state) ?? 0, this.steps.length - 1));
    if (diagram.length) drawArrows(row, this.figures);
  }

  // ---- choosing

  go(step) {
    this.step = step;
    this.choose(this.steps[step]);
  }

  choose(choice) {
    const selection = this.view.select(this.state, choice);
    if (!selection) return false;
    this.choice = choice;
    const at = this.steps.findIndex((step) => ["figure", "panel", "i", "j"].every((part) => step[part] === choice[part]));
    if (at >= 0) this.step = at;
    for (const figure of Object.values(this.figures)) figure.clear();
    for (const { figure, panel, value } of selection.values ?? []) this.figures[figure].fill(panel, value);
    find("#figures").classList.toggle("many", selection.marks.length > MANY);
    for (const mark of selection.marks) this.figures[mark.figure]?.mark(mark);
    this.figures[choice.figure].reach(choice.panel, choice.i, choice.j);
    find("#at").textContent = `${this.step + 1} of ${this.steps.length}`;
    find("#sum").innerHTML = sumTable(selection.sum);
    find("#loops").innerHTML = loopNest(this.loops[this.view.loops], selection.indices ?? {});
    if (!this.timer) find("#live").textContent = spoken(selection.sum);
    return true;
  }

  // ---- playing

  play() {
    if (this.timer) return this.stop();
    this.timer = setInterval(() => this.go((this.step + 1) % this.steps.length), SPEEDS[find("#speed").value]);
    find("#play").textContent = "❚❚ Pause";
    find("#play").setAttribute("aria-pressed", "true");
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    find("#play").textContent = "▶ Play";
    find("#play").setAttribute("aria-pressed", "false");
  }

  by(steps) {
    this.stop();
    this.go((this.step + steps + this.steps.length) % this.steps.length);
  }

  listen() {
    const figures = find("#figures");
    const choiceOf = (cell) => ({ figure: cell.closest("figure").dataset.figure, panel: Number(cell.closest("table").dataset.panel), i: Number(cell.dataset.i), j: Number(cell.dataset.j) });
    const pointed = ({ target }) => {
      const cell = target.closest?.(".selectable td");
      if (!cell) return;
      this.stop();
      this.choose(choiceOf(cell));
    };
    figures.addEventListener("pointerover", pointed);
    figures.addEventListener("click", pointed);
    figures.addEventListener("focusin", pointed);
    figures.addEventListener("keydown", (event) => {
      const cell = event.target.closest(".selectable td");
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!cell || !move) return;
      event.preventDefault();
      const { figure, panel, i, j } = choiceOf(cell);
      const next = this.figures[figure].cell(panel, i + move[0], j + move[1]);
      const { cols } = this.figures[figure].spec.panels[panel];
      if (!next || j + move[1] < 0 || j + move[1] >= cols) return;
      next.tabIndex = 0;
      next.focus();
    });
    addEventListener("resize", () => { if (figures.classList.contains("diagram")) drawArrows(figures, this.figures); });
    find("#back").addEventListener("click", () => this.by(-1));
    find("#next").addEventListener("click", () => this.by(1));
    find("#play").addEventListener("click", () => this.play());
    find("#speed").addEventListener("change", () => { if (this.timer) { this.stop(); this.play(); } });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input, button, summary, a") && event.key === " ") return;
      const act = { n: () => this.by(1), b: () => this.by(-1), " ": () => this.play() }[event.key];
      const tab = this.tabs[Number(event.key) - 1];
      if (act) act();
      else if (tab) this.open(this.views.find((view) => view.tab === tab.id));
      else return;
      event.preventDefault();
    });
  }

  // A selector for one index of the state. change(value) adapts the state.
  selector(label, key, values, change) {
    if (values.length < 2) return;
    const element = document.createElement("label");
    element.innerHTML = `${label} <select data-index="${key}">${values.map((value) => `<option>${value}</option>`).join("")}</select>`;
    find("#indices").append(element);
    element.firstElementChild.addEventListener("change", ({ target }) => {
      change(Number(target.value));
      for (const select of document.querySelectorAll("#indices select")) select.value = this.state[select.dataset.index];
      this.stop();
      this.places[this.view.id] = this.step;
      this.draw();
    });
  }
}

// ---- the sum and the loop nest as HTML

function sumTable({ name, start, rows, total, engine, how, ways }) {
  const products = rows.reduce((count, row) => count + row.products.length, 0);
  const lines = start ? [`<tr class="start"><td></td><td>${start.name}</td><td></td><td>${text(start.value)}</td></tr>`] : [];
  for (const row of rows) {
    const subtotal = row.products.reduce((sum, product) => sum + valueOf(product), 0);
    if (row.name && rows.length > 1) lines.push(`<tr class="part"><th colspan="3" scope="rowgroup">${row.name}</th><td>${text(subtotal)}</td></tr>`);
    if (products > LONGEST && !row.shown) continue;
    const listed = row.products.slice(0, LONGEST);
    lines.push(...listed.map(productLine));
    if (listed.length < row.products.length) lines.push(`<tr class="more"><td colspan="4">… and ${row.products.length - LONGEST} more</td></tr>`);
  }
  if (!products) lines.push('<tr class="more"><td colspan="4">no products: nothing uses it</td></tr>');
  const agrees = engine === undefined ? "" : `<span class="engine">the engine says ${text(engine, 6)}</span>`;
  const same = ways ? `<p class="ways">${ways.map((way) => `${way.name} <b>${text(way.value, 6)}</b>`).join(" = ")}</p>` : "";
  return `<p class="result"><b>${name}</b> = <output>${text(total, 6)}</output> ${agrees}</p>
    <p class="how">${how ?? `the sum of ${products} product${products === 1 ? "" : "s"}${start ? ` and ${start.name}` : ""}`}</p>${same}
    <div class="scroll"><table class="sum"><tbody>${lines.join("")}</tbody></table></div>`;
}

function productLine(product) {
  const { number, factors, silent, say } = product;
  return `<tr class="${silent ? "silent" : ""}" style="--hue:${hue(number)}"><td class="letter">${letter(number)}</td><td>${factors.map((one) => `<code>${one.name}</code>`).join(" · ")}</td>
    <td>${factors.map((one) => factor(one.value)).join(" · ")}${say ? ` <small>${say}</small>` : ""}</td><td>${text(valueOf(product))}</td></tr>`;
}

function valueOf({ factors }) {
  return factors.reduce((product, { value }) => product * value, 1);
}

function spoken({ name, rows, total }) {
  return `${name} is ${text(total)}, the sum of ${rows.reduce((count, row) => count + row.products.length, 0)} products`;
}

function loopNest(lines, indices) {
  return lines.map(({ text: code, index, line }) => {
    const now = index && index in indices ? `<i>${index} = ${indices[index]}</i>` : "";
    const link = line ? `<a href="#L${line}" title="line ${line} of the reference kernel">${line}</a>` : "";
    return `<span class="${now ? "now" : ""}">${link}${code.replace(/&/g, "&amp;").replace(/</g, "&lt;")}${now}</span>`;
  }).join("\n");
}
