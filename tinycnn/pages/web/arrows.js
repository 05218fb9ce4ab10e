// Lines between figures that are made of each other, drawn behind them.

export function drawArrows(home, figures) {
  home.querySelector(".arrows")?.remove();
  const box = home.getBoundingClientRect();
  const place = ({ element }) => {
    const { left, right, top, bottom, width, height } = element.getBoundingClientRect();
    return { middle: left + width / 2 - box.left, right: right - box.left, top: top - box.top - 2, bottom: bottom - box.top + 2, level: top + height / 2 - box.top };
  };
  const lines = Object.values(figures).flatMap((figure) => (figure.spec.from ?? []).map((id) => {
    const from = place(figures[id]), to = place(figure), bend = Math.max(16, (to.top - from.bottom) / 2);
    const skips = figure.spec.place[0] - figures[id].spec.place[0] > 1;
    const aside = from.right + 130; // what lies between in the same column is passed at the right; otherwise the column of the target is free
    const path = !skips ? `M${from.middle},${from.bottom} C${from.middle},${from.bottom + bend} ${to.middle},${to.top - bend} ${to.middle},${to.top}`
      : Math.abs(from.middle - to.middle) < 9 ? `M${from.right},${from.level} C${aside},${from.level} ${aside},${to.level} ${to.right},${to.level}`
      : `M${from.middle},${from.bottom} C${from.middle},${from.bottom + 30} ${to.middle},${from.bottom} ${to.middle},${from.bottom + 60} L${to.middle},${to.top}`;
    return `<path d="${path}" ${figure.spec.backward ? 'marker-start="url(#tip)"' : 'marker-end="url(#tip)"'}/>`;
  }));
  home.insertAdjacentHTML("beforeend", `<svg class="arrows" aria-hidden="true" width="${home.scrollWidth}" height="${home.scrollHeight}">
    <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z"/></marker>${lines.join("")}</svg>`);
}
