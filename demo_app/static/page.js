// Cached pages are the same for everybody. What differs is filled in here: who is signed in, from a plain cookie
// of the demo, and how this very response was served, from its Server-Timing header.
"use strict";

const cookies = Object.fromEntries(
  document.cookie.split("; ").map((pair) => pair.split("=").map(decodeURIComponent)),
);
const me = cookies.demo_user;

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function showWho() {
  const place = document.querySelector("[data-who]");
  const name = cookies.demo_name || `user ${me}`;
  const avatar = element("span", { className: `avatar hue-${Number(me) % 8}` }, name[0]);
  const link = element("a", { className: "me", href: `/users/${me}/favorites` }, avatar, name);
  const leave = element("form", { method: "post", action: "/sign-out" });
  leave.append(
    element("input", { type: "hidden", name: "next", value: location.pathname + location.search }),
    element("button", { className: "button small" }, "Sign out"),
  );
  place.replaceChildren(link, leave);
  document.querySelector(`[data-person="${CSS.escape(me)}"]`)?.classList.add("me");
}

function showHearts() {
  for (const form of document.querySelectorAll("[data-favourite]")) {
    const mine = form.dataset.fans.split(" ").includes(me);
    form.action = form.action.replace("/users/me/", `/users/${me}/`);
    const button = form.querySelector("button");
    button.classList.toggle("on", mine);
    button.setAttribute("aria-pressed", String(mine));
    form.querySelector("[data-label]").textContent = mine ? "Your favourite" : "Favourite";
  }
}

function hideForeignHearts() {
  for (const list of document.querySelectorAll("[data-owner]")) {
    if (list.dataset.owner !== me) {
      list.querySelectorAll(".act form").forEach((form) => form.remove());
    }
  }
}

function ago(seconds) {
  if (seconds < 1) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

function showStrip() {
  const strip = document.querySelector(".strip");
  const [visit] = performance.getEntriesByType("navigation");
  const timing = Object.fromEntries((visit?.serverTiming ?? []).map((entry) => [entry.name, entry]));
  const words = { hit: "HIT", miss: "MISS", bypass: "not cached", none: "not cached" };
  const verdict = timing.cache?.description;
  if (verdict in words) {
    const pill = strip.querySelector("[data-verdict]");
    pill.dataset.verdict = verdict;
    pill.textContent = words[verdict];
  }
  if (verdict === "hit") {
    const age = strip.querySelector("[data-age]");
    age.textContent = `${ago(Math.max(0, Date.now() / 1000 - strip.dataset.rendered))}`;
  }
  if (timing.total) {
    const request = strip.querySelector("[data-request]");
    request.append("this request cost ", element("b", {}, timing.total.duration.toFixed(timing.total.duration < 10 ? 2 : 0)), " ms");
    request.hidden = false;
  }
}

function foldByWidth() {
  const wide = matchMedia("(min-width: 821px)");
  for (const details of document.querySelectorAll("[data-open-wide]")) {
    details.open = wide.matches;
    wide.addEventListener("change", () => { details.open = wide.matches; });
  }
}

if (me) {
  showWho();
  showHearts();
}
hideForeignHearts();
foldByWidth();
showStrip();
