// One photo, large, over the others.
import { copyText } from "./selection.js";

const AROUND = `
<div class="around close"><button type="button" data-do="close" aria-label="Close"></button></div>
<div class="around step left"><button type="button" data-do="back" aria-label="The photo before"></button></div>
<div class="around step right"><button type="button" data-do="on" aria-label="The next photo"></button></div>`;

export class View {
  #card = null;

  constructor(dialog, page) {
    this.dialog = dialog;
    this.page = page;
    dialog.addEventListener("click", (event) => {
      const action = event.target.closest("[data-do]")?.dataset.do;
      if (action) this[`_${action}`]();
      else if (event.target.matches("figure")) this.close();
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight") this._on();
      else if (event.key === "ArrowLeft") this._back();
      else return;
      event.preventDefault();
    });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
  }

  get isOpen() {
    return this.dialog.open;
  }

  async open(card) {
    this.#card = card;
    const response = await fetch(card.querySelector(".open").href, { headers: { "X-Fragment": "1" } });
    if (this.#card !== card) return;
    if (!response.ok) return this.page.toast("This photo is not here any more");
    this.dialog.innerHTML = AROUND + (await response.text());
    const icons = { close: "m6.5 6.5 11 11m0-11-11 11", back: "m14.5 5.5-6.5 6.5 6.5 6.5", on: "m9.5 5.5 6.5 6.5-6.5 6.5" };
    for (const [name, path] of Object.entries(icons)) {
      this.dialog.querySelector(`[data-do=${name}]`).innerHTML = `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
    }
    const image = this.dialog.querySelector("figure img");
    image.addEventListener("error", () => image.replaceWith("cannot be shown now"));
    this.dialog.setAttribute("aria-label", this.dialog.querySelector("h2").textContent);
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector("[data-do=close]").focus({ focusVisible: false });
    this.#prefetch();
  }

  close({ quietly = false } = {}) {
    this.dialog.close();
    this.dialog.replaceChildren();
    const card = this.#card;
    this.#card = null;
    if (!quietly) this.page.focus(card);
  }

  #beside(step) {
    const all = this.page.cards();
    return all[all.indexOf(this.#card) + step];
  }

  /** The next photo's large picture, which is most likely asked for. */
  #prefetch() {
    const next = this.#beside(1);
    if (next) new Image().src = next.querySelector("img").src.replace("side=480", "side=2048");
  }

  _close() {
    this.close();
  }

  _back() {
    const card = this.#beside(-1);
    if (card) this.open(card);
  }

  async _on() {
    if (!this.#beside(1)) await this.page.more();
    const card = this.#beside(1);
    if (card) this.open(card);
  }

  async _path() {
    await copyText(this.dialog.querySelector(".photo").dataset.path);
    this.page.toast("Path copied");
  }

  async _reveal() {
    const response = await fetch(`/api/photos/${this.dialog.querySelector(".photo").dataset.id}/reveal`, { method: "POST" });
    if (!response.ok) this.page.toast((await response.json()).error);
  }
}
