// Arrows of the recorded graph, between what is visible: an operation, or the closed module that it is in.

const graph = document.querySelector("#graph");
const edges = JSON.parse(document.querySelector("#edges").textContent);

function visible(number) {
  let seen = document.getElementById(`n${number}`);
  for (let box = seen.closest("details"); box; box = box.parentElement.closest("details")) if (!box.open) seen = box;
  return seen;
}

function draw() {
  graph.querySelector(":scope > svg")?.remove();
  const home = graph.getBoundingClientRect(), drawn = new Set(), paths = [];
  const numbers = new Map();
  const nameOf = (element) => { if (!numbers.has(element)) numbers.set(element, numbers.size); return numbers.get(element); };
  for (const [from, to] of edges) {
    const [first, second] = [visible(from), visible(to)], name = `${nameOf(first)} ${nameOf(second)}`;
    if (first === second || drawn.has(name)) continue;
    drawn.add(name);
    const a = first.getBoundingClientRect(), b = second.getBoundingClientRect();
    const x1 = a.left + a.width / 2 - home.left, y1 = a.bottom - home.top, x2 = b.left + b.width / 2 - home.left, y2 = b.top - home.top - 1;
    // What skips rows stays in its own column until it must leave it, or in a single column goes round at the right.
    const long = y2 - y1 > 120, aside = Math.max(a.right, b.right) - home.left + 24 + Math.min((y2 - y1) / 4, 120), bend = Math.max(8, (y2 - y1) / 2);
    const path = !long ? `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2}`
      : Math.abs(x1 - x2) < 40 ? `M${a.right - home.left},${y1 - 8} C${aside},${y1 + 20} ${aside},${y2 - 20} ${b.right - home.left},${y2 + 9}`
      : `M${x1},${y1} L${x1},${y2 - 50} C${x1},${y2 - 10} ${x2},${y2 - 40} ${x2},${y2}`;
    paths.push(`<path marker-end="url(#tip)" d="${path}"/>`);
  }
  graph.insertAdjacentHTML("beforeend", `<svg aria-hidden="true" data-arrows="${drawn.size}"><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker>${paths.join("")}</svg>`);
}

const all = (open) => () => { for (const box of graph.querySelectorAll("details")) box.open = open; };
document.querySelector("#open").addEventListener("click", all(true));
document.querySelector("#close").addEventListener("click", all(false));
graph.addEventListener("toggle", draw, true);
addEventListener("resize", draw);
draw();
