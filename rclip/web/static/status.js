// The page that says what is indexed.
import { listen } from "./events.js";

const news = document.querySelector("#news");

document.querySelector("#update").addEventListener("click", async () => {
  news.textContent = "Looking …";
  const response = await fetch("/api/update", { method: "POST" });
  if (!response.ok) news.textContent = (await response.json()).error;
});

listen({ state: null, progress: document.querySelector("#progress") }, (told) => {
  news.textContent = told || "Nothing has changed";
  setTimeout(() => location.reload(), 1500);
});
