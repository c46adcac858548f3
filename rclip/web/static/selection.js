// The photos that are selected, whatever is searched for meanwhile, and what can be done with them.
const KEPT = "rclip-selection";

export async function post(address, content) {
  const response = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}

export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea"); // an address that is not this machine's has no clipboard
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

export const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export class Selection {
  #paths; // by ids, in the order of selecting
  #last = null;

  constructor(bar, cards, toast) {
    this.bar = bar;
    this.cards = cards;
    this.toast = toast;
    this.#paths = new Map(JSON.parse(sessionStorage.getItem(KEPT) ?? "[]"));
    bar.addEventListener("click", (event) => {
      const action = event.target.closest("[data-do]")?.dataset.do;
      if (action) this.act(action);
    });
    document.addEventListener("click", (event) => {
      const box = event.target.closest(".pick input");
      if (!box) return;
      const card = box.closest(".card");
      if (event.shiftKey && this.#last) this.upTo(card);
      else this.toggle(card);
    });
    this.#show();
  }

  get size() {
    return this.#paths.size;
  }

  toggle(card) {
    this.#set(card, !this.#paths.has(card.dataset.id));
    this.#last = card.dataset.id;
    this.#changed();
  }

  /** All from the one selected last up to this one. */
  upTo(card) {
    const from = this.cards().find((each) => each.dataset.id === this.#last) ?? card;
    this.range(from, card);
  }

  range(from, to) {
    const all = this.cards();
    const [first, last] = [all.indexOf(from), all.indexOf(to)].sort((a, b) => a - b);
    for (const card of all.slice(first, last + 1)) this.#set(card, true);
    this.#last = to.dataset.id;
    this.#changed();
  }

  clear() {
    this.#paths.clear();
    this.#changed();
  }

  /** Shows on the cards which are selected. */
  mark() {
    for (const card of this.cards()) {
      const isSelected = this.#paths.has(card.dataset.id);
      card.classList.toggle("selected", isSelected);
      card.querySelector(".pick input").checked = isSelected;
    }
  }

  async act(action) {
    try {
      await this[`_${action}`]();
    } catch (error) {
      this.toast(error.message);
    }
  }

  async _paths() {
    await copyText([...this.#paths.values()].join("\n"));
    this.toast(`${counted(this.size, "path", "paths")} copied`);
  }

  async _save() {
    const format = document.querySelector("#format").value;
    const response = await post("/api/selection", { ids: [...this.#paths.keys()], format });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = /filename="(.+)"/.exec(response.headers.get("content-disposition"))[1];
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async _copy() {
    const done = await (await post("/api/copy", { ids: [...this.#paths.keys()] })).json();
    const failed = done.failed.length ? `; ${done.failed.length} failed: ${done.failed[0].reason}` : "";
    this.toast(`${counted(done.copied.length, "photo", "photos")} copied${failed}`);
  }

  _clear() {
    this.clear();
  }

  #set(card, isSelected) {
    if (isSelected) this.#paths.set(card.dataset.id, card.dataset.path);
    else this.#paths.delete(card.dataset.id);
  }

  #changed() {
    sessionStorage.setItem(KEPT, JSON.stringify([...this.#paths]));
    this.#show();
  }

  #show() {
    this.bar.hidden = !this.size;
    this.bar.querySelector("#selected").textContent = `${counted(this.size, "photo", "photos")} selected`;
    this.mark();
  }
}
