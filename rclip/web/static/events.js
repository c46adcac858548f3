// What the server says of its looking for new photos.
import { counted } from "./selection.js";

const STAGES = { listing: "Looking for photos", reading: "Looking at new photos", metadata: "Reading dates and places" };
const CHANGES = {
  added: ["new photo", "new photos"],
  changed: ["changed photo", "changed photos"],
  moved: ["moved photo", "moved photos"],
  copied: ["copy", "copies"],
  returned: ["photo is back", "photos are back"],
  missing: ["photo is missing", "photos are missing"],
  unreadable: ["file cannot be read", "files cannot be read"],
};

function told(changes) {
  const parts = Object.entries(changes).map(([name, count]) => counted(count, ...CHANGES[name]));
  return parts.length ? `Found: ${parts.join(", ")}` : "";
}

/** Shows the state in its places, and calls `ended` after each update with a sentence, empty where nothing has changed. */
export function listen({ state, progress }, ended) {
  const text = state?.querySelector(".text");
  let usual = text?.textContent;
  let last = null; // an update may begin and end between two messages
  const source = new EventSource("/api/events");
  source.onmessage = async (event) => {
    const news = JSON.parse(event.data);
    state?.classList.toggle("busy", news.is_running);
    state?.classList.toggle("failed", Boolean(news.error));
    progress.hidden = !news.is_running || !news.total;
    if (news.total) progress.value = news.done / news.total;
    if (news.is_running) {
      const done = news.total ? ` ${news.done.toLocaleString("en")} of ${news.total.toLocaleString("en")}` : "";
      if (text && (news.stage !== "listing" || !news.total)) text.textContent = `${STAGES[news.stage] ?? "Looking"}${done}`;
    } else if (last !== null && news.number !== last) {
      const stats = await (await fetch("/api/stats")).json();
      usual = counted(stats.photos, "photo", "photos");
      if (text) text.textContent = usual;
      const sentence = news.error ?? told(news.changes);
      ended(sentence);
    }
    if (state) state.title = news.error ?? "What is indexed";
    last = news.number;
  };
  addEventListener("pagehide", () => source.close());
}
