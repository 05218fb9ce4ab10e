// The page checks itself: what JavaScript works out here must be what the engine said.

import { text } from "./numbers.js";

const EPSILON = 2 ** -23; // the engine's numbers came as float32

// Room for the rounding of sums of so many products, as the engine's own tests allow it: 8 eps sqrt(length), relative to the largest number.
export function allowed(engine, length) {
  return 8 * EPSILON * Math.sqrt(Math.max(length, 1)) * Math.max(engine.largest(), 1e-30);
}

// check = { name, engine: Numbers, here: Numbers or (...index) -> number, every: only each so many-th, length of the sums }
export function compare({ name, engine, here, every = 1, length }) {
  let difference = 0, count = 0;
  for (let offset = 0; offset < engine.data.length; offset += every) {
    const mine = typeof here === "function" ? here(...engine.index(offset)) : here.data[offset], theirs = engine.data[offset];
    const distance = Object.is(mine, theirs) ? 0 : Math.abs(mine - theirs);
    difference = Math.max(difference, Number.isNaN(distance) ? Infinity : distance);
    count += 1;
  }
  const room = allowed(engine, length);
  return { name, count, of: engine.data.length, difference, room, good: difference <= room };
}

export function show(results) {
  const good = results.every((result) => result.good);
  const badge = document.querySelector("#badge");
  const numbers = results.reduce((sum, { count }) => sum + count, 0).toLocaleString("en");
  badge.dataset.state = good ? "good" : "bad";
  badge.textContent = good ? `✓ ${numbers} numbers checked` : "✗ this page and the engine disagree";
  document.querySelector("#selftest").innerHTML = `<table><thead><tr><th>worked out here</th><th>numbers</th><th>largest difference</th><th>allowed</th><th></th></tr></thead><tbody>${results
    .map(({ name, count, of, difference, room, good }) => `<tr><td>${name}</td><td>${count < of ? `${count} of ${of}` : count}</td><td>${text(difference, 2)}</td><td>${text(room, 2)}</td><td>${good ? "✓" : "✗ wrong"}</td></tr>`).join("")}</tbody></table>`;
}
