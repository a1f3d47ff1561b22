// The wall follows /board/state. A tile that was fresh and is forgotten turns over; the others stay as they are.
"use strict";

const WORDS = { fresh: "fresh", stale: "stale", forgotten: "forgotten", absent: "not cached" };
const tiles = new Map([...document.querySelectorAll(".tile")].map((tile) => [tile.dataset.url, tile]));
const log = document.querySelector("[data-log]");
let newest = Number(log.querySelector("[data-event]")?.dataset.event ?? 0);

const chip = (name) => element("li", { className: "chip" }, name);

function brief(seconds) {
  return seconds < 90 ? `${Math.floor(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

function play(node, animation) {
  node.classList.remove("gone", "warm");
  void node.offsetWidth; // a second write in a row must start the animation anew
  node.classList.add(animation);
}

function showTile({ url, state, age, cost, namespaces, changed }) {
  const tile = tiles.get(url);
  const before = tile.dataset.state;
  if (state !== before) {
    if (state === "forgotten") play(tile, "gone");
    if (state === "fresh") play(tile, "warm");
    tile.dataset.state = state;
  }
  tile.querySelector("[data-word]").textContent = WORDS[state];
  tile.querySelector("[data-age]").textContent = age === null ? "" : brief(age);
  tile.title = cost === null ? "" : `took ${cost} ms to render`;
  const names = tile.querySelector(".chips");
  names.replaceChildren(...namespaces.map(chip));
  for (const node of names.children) {
    node.classList.toggle("changed", state === "forgotten" && changed.includes(node.textContent));
  }
}

function showEvent(event) {
  const pages = event.forgotten === 1 ? "page" : "pages";
  const names = element("ul", { className: "chips" });
  names.append(...event.namespaces.map(chip));
  log.querySelector(".empty")?.remove();
  log.prepend(element("li", { className: "new" },
    element("b", {}, event.what),
    element("span", {}, `forgot ${event.forgotten} of ${event.cached} cached pages`, element("time", {}, event.at)),
    names,
  ));
  document.querySelector("[data-headline]").textContent =
    `One write forgot ${event.forgotten} ${pages}; ${event.cached - event.forgotten} stayed.`;
}

async function refresh() {
  if (document.hidden) return;
  const response = await fetch("/board/state");
  if (!response.ok) return;
  const state = await response.json();
  state.tiles.forEach(showTile);
  document.querySelector("[data-fresh]").textContent = state.fresh;
  document.querySelector("[data-ring]").setAttribute("stroke-dasharray", `${state.fresh} 20`);
  // The log is the database's, which all workers share: its numbers start anew with a new file only.
  if (state.events.length && state.events[0].id < newest) newest = 0;
  state.events.filter((event) => event.id > newest).reverse().forEach(showEvent);
  newest = state.events[0]?.id ?? newest;
}

async function write(event) {
  event.preventDefault();
  const { currentTarget: form, submitter } = event;
  const body = new URLSearchParams(new FormData(form, submitter));
  const url = submitter.hasAttribute("formaction") ? submitter.formAction : form.action;
  // Following the redirect would render a page and so warm it.
  await fetch(url, { method: "POST", body, redirect: "manual" });
  await refresh();
}

async function warm(event) {
  const button = event.currentTarget;
  button.disabled = true;
  for (const url of tiles.keys()) {
    await fetch(url);
    await refresh();
  }
  button.disabled = false;
}

const button = document.querySelector("[data-warm]");
button.hidden = false;
button.addEventListener("click", warm);
document.querySelectorAll("[data-write]").forEach((form) => form.addEventListener("submit", write));
refresh().catch(() => {});
setInterval(() => refresh().catch(() => {}), 1000);
