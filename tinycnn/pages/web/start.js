// Reads the data, builds the page for what it explains, and checks it.

import { blockPage } from "./block_page.js";
import { convPage } from "./conv_page.js";
import { lrnPage } from "./lrn_page.js";
import { poolPage } from "./pool_page.js";
import { reluPage } from "./relu_page.js";
import { compare, show } from "./selftest.js";

const PAGES = { block: blockPage, conv: convPage, pool: poolPage, lrn: lrnPage, relu: reluPage };
const data = JSON.parse(document.querySelector("#data").textContent);
const checks = PAGES[data.kind](data);

// Light, dark, or as the system has it.
const themes = ["auto", "light", "dark"], theme = document.querySelector("#theme");
theme.addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
  document.documentElement.dataset.theme = next;
  theme.textContent = `◐ ${next}`;
});

// A link to a line of the reference opens what it is folded in.
const reach = () => {
  const line = document.getElementById(location.hash.slice(1));
  if (!line?.closest("details")) return;
  line.closest("details").open = true;
  line.scrollIntoView({ block: "center" });
};
addEventListener("hashchange", reach);
document.addEventListener("click", ({ target }) => { if (target.closest('a[href^="#L"]')) setTimeout(reach); });

// The self-test begins when the page has been drawn, and lets the page answer between its parts.
async function test() {
  const pause = () => new Promise((go) => setTimeout(go)), results = [];
  await pause();
  for (const check of checks()) {
    results.push(compare(check));
    await pause();
  }
  show(results);
}
test();
