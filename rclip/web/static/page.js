// The page while it is used: what changes is asked for as a part of the same page, and put in its place.
import { Selection } from "./selection.js";
import { View } from "./view.js";
import { listen } from "./events.js";
import { takePictures } from "./pictures.js";

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

const form = $("#search");
const words = $("#q");
const TYPING_MS = 120;

// --- asking ----------------------------------------------------------------------------------------------------------

let asking = null;

async function fragment(address, signal) {
  const response = await fetch(address, { headers: { "X-Fragment": "1" }, signal });
  const holder = document.createElement("template");
  holder.innerHTML = await response.text();
  if (!holder.content.querySelector("#found")) throw new Error((holder.content.textContent || response.statusText).trim());
  return holder.content;
}

/** Shows what an address asks for. `history`: "push", "replace" or "none". */
async function show(address, { history: kind = "push", keepWords = false } = {}) {
  asking?.abort();
  const mine = (asking = new AbortController());
  $("#found").classList.add("waiting");
  if (kind === "push") history.pushState(null, "", address);
  if (kind === "replace") history.replaceState(null, "", address);
  try {
    const found = await fragment(address, mine.signal);
    for (const id of ["others", "chips", "years", "found"]) $(`#${id}`).replaceWith(found.querySelector(`#${id}`));
    fillForm(new URL(address, location).searchParams, keepWords);
    prepare($("#grid"));
    if (!keepWords) scrollTo({ top: 0 });
    document.title = words.value ? `${words.value} – rclip` : "rclip";
  } catch (error) {
    if (error.name === "AbortError") return;
    $("#found").classList.remove("waiting");
    toast(navigator.onLine === false || error instanceof TypeError ? "rclip does not answer: is it still running?" : error.message);
  }
}

/** The form as its address says it, but for words that are just being typed. */
function fillForm(parameters, keepWords) {
  for (const field of form.elements) {
    if (!field.name || field.type === "hidden" || field === words) continue;
    if (field.type === "checkbox") field.checked = parameters.has(field.name);
    else field.value = parameters.get(field.name) ?? "";
  }
  const others = new Set($$("#others input").map((each) => each.value));
  if (!keepWords) words.value = parameters.getAll("q").find((line) => !others.has(line)) ?? "";
  const set = $$(".chip.filter").length;
  $("#filters .badge")?.remove();
  if (set) $("#filters summary").insertAdjacentHTML("beforeend", ` <b class="badge">${set}</b>`);
}

function addressOfForm() {
  const parameters = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim?.()) parameters.append(name, value.trim());
  return parameters.size ? `/?${parameters}` : "/";
}

// What is typed in one go is one entry of the history.
let typing = 0;
let isNewEntry = true;
words.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(typed, TYPING_MS);
});
words.addEventListener("blur", () => (isNewEntry = true));

function typed() {
  clearTimeout(typing);
  const address = addressOfForm();
  if (address === location.pathname + location.search) return;
  show(address, { history: isNewEntry ? "push" : "replace", keepWords: true });
  isNewEntry = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  typed();
  isNewEntry = true;
});

for (const field of $$(".fields :is(input, select)")) {
  field.addEventListener("change", () => show(addressOfForm(), { keepWords: true }));
}

addEventListener("popstate", () => {
  isNewEntry = true;
  if (view.isOpen) view.close({ quietly: true });
  show(location.href, { history: "none" });
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-soft], .pager a");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (view.isOpen) view.close({ quietly: true });
  const kept = $("#chips").contains(link) || $("#years").contains(link) ? link.getAttribute("aria-label") : null;
  show(link.href).then(() => kept && (again(kept) ?? words).focus({ preventScroll: true }));
});

/** The link that has taken the place of one that was followed, so that the focus stays where it was. */
const again = (label) => $$("#chips a, #years a").find((each) => each.getAttribute("aria-label") === label);

// --- more on scrolling -----------------------------------------------------------------------------------------------

let loading = null;

/** Appends the next page. Resolves to whether there was one. */
function more() {
  const next = $(".pager [rel=next]");
  if (!next) return Promise.resolve(false);
  loading ??= fragment(next.href)
    .then((found) => {
      if (!next.isConnected) return false;
      const cards = [...found.querySelector("#grid").children];
      $("#grid").append(...cards);
      $(".pager").replaceWith(found.querySelector(".pager"));
      $(".pager [rel=prev]")?.remove();
      $("#count").textContent = found.querySelector("#count").textContent;
      prepare($("#grid"));
      return true;
    })
    .catch(() => false)
    .finally(() => (loading = null));
  return loading;
}

const nearEnd = new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && more(), { rootMargin: "1200px" });

/** Makes a grid ready: one photo of it can be reached by Tab, from there the arrows go on. */
function prepare(grid) {
  for (const card of $$(".card", grid)) {
    card.style.setProperty("--r", card.dataset.ratio);
    for (const each of $$("a, input", card)) each.tabIndex = -1;
    const image = $("img", card);
    image.addEventListener("error", () => card.classList.add("failed"));
    if (image.complete && !image.naturalWidth) card.classList.add("failed");
  }
  const first = $(".card .open", grid);
  if (first) first.tabIndex = 0;
  selection.mark();
  nearEnd.disconnect();
  nearEnd.observe($(".pager"));
}

// --- the keyboard ----------------------------------------------------------------------------------------------------

const cards = () => $$("#grid .card");
const focused = () => document.activeElement?.closest?.(".card");

function focus(card) {
  if (!card) return;
  for (const each of $$("#grid .open[tabindex='0']")) each.tabIndex = -1;
  const link = $(".open", card);
  link.tabIndex = 0;
  link.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

/** The card in the row above or below that lies nearest. */
function vertical(card, step) {
  const here = card.getBoundingClientRect();
  const middle = here.left + here.width / 2;
  const rows = cards().map((each) => [each, each.getBoundingClientRect()]).filter(([, box]) => (box.top - here.top) * step > 4);
  const row = step > 0 ? Math.min(...rows.map(([, box]) => box.top)) : Math.max(...rows.map(([, box]) => box.top));
  const distance = ([, box]) => Math.abs(box.left + box.width / 2 - middle);
  return rows.filter(([, box]) => Math.abs(box.top - row) < 4).sort((a, b) => distance(a) - distance(b))[0]?.[0];
}

function beside(card, step) {
  const all = cards();
  const next = all[all.indexOf(card) + step];
  if (!next && step > 0) more().then((came) => came && focus(cards()[all.length]));
  return next;
}

const MOVES = {
  ArrowRight: (card) => beside(card, 1),
  ArrowLeft: (card) => beside(card, -1),
  ArrowDown: (card) => vertical(card, 1) ?? beside(card, 1),
  ArrowUp: (card) => vertical(card, -1),
  Home: () => cards()[0],
  End: () => cards().at(-1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  const isTyping = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && !isTyping) return escape();
  if (event.key === "ArrowDown" && event.target === words) return (event.preventDefault(), focus(cards()[0]));
  if (isTyping) return;
  const card = focused();
  if (event.key === "/") return (event.preventDefault(), words.focus(), words.select());
  if (event.key === "?") return $("#help").showModal();
  if (event.key === "c" && selection.size) return selection.act("paths");
  if (!card) return;
  const move = MOVES[event.key];
  if (move) {
    event.preventDefault();
    const from = card;
    const to = move(card);
    if (event.shiftKey && to) selection.range(from, to);
    focus(to);
  } else if (event.key === " ") {
    event.preventDefault();
    event.shiftKey ? selection.upTo(card) : selection.toggle(card);
  } else if (event.key === "+" || event.key === "-") {
    event.preventDefault();
    show($$(".act", card)[event.key === "+" ? 0 : 1].href);
  }
});

function escape() {
  if ($("#filters").open) {
    $("#filters").open = false;
    $("#filters summary").focus();
  } else selection.clear();
}

document.addEventListener("pointerdown", (event) => {
  if ($("#filters").open && !$("#filters").contains(event.target)) $("#filters").open = false;
});

// --- the parts -------------------------------------------------------------------------------------------------------

let fading = 0;
export function toast(text) {
  const place = $("#toast");
  place.hidePopover(); // to come out on top of a dialog that was opened since
  place.showPopover();
  place.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => place.hidePopover(), 4000);
}

const selection = new Selection($("#selection"), cards, toast);
const view = new View($("#view"), { cards, more, focus, toast });

document.addEventListener("click", (event) => {
  const link = event.target.closest("#grid .open");
  if (!link || event.button || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const card = link.closest(".card");
  if (event.shiftKey) selection.upTo(card);
  else view.open(card);
});

takePictures({ button: $("#choose"), file: $("#file"), drop: $("#drop"), toast, ask: (term) => show(withTerm(term)) });

function withTerm(term) {
  const address = new URL(addressOfForm(), location);
  address.searchParams.append("q", `+ ${term}`);
  return address.pathname + address.search;
}

listen({ state: $("#state"), progress: $("#progress") }, (told) => {
  if (told) toast(told);
  if (told && scrollY < 200 && !view.isOpen && !selection.size) show(location.href, { history: "none", keepWords: true });
});

prepare($("#grid"));
document.documentElement.classList.add("ready");
if (!$("#years").children.length) setTimeout(async () => {
  // What filters can choose from is counted when the server starts; the first page may come before that.
  await fetch("/api/facets");
  const text = await (await fetch(location.href)).text();
  const whole = new DOMParser().parseFromString(text.replace(/<style[^]*?<\/style>/, ""), "text/html");
  for (const id of ["years", "cameras", "types", "keywords"]) $(`#${id}`).replaceWith(whole.querySelector(`#${id}`));
  const folder = form.elements.folder;
  const chosen = folder.value;
  folder.replaceChildren(...whole.querySelector("[name=folder]").children);
  folder.value = chosen;
  if (!$("#state").classList.contains("busy")) $("#state .text").textContent = whole.querySelector("#state .text").textContent;
}, 0);
