// A picture to ask with: chosen, dropped or pasted.
const MOST_BYTES = 64 << 20;

export function takePictures({ button, file, drop, toast, ask }) {
  async function take(picture) {
    if (!picture) return;
    if (picture.size > MOST_BYTES) return toast("This picture is larger than 64 MB");
    button.setAttribute("aria-busy", "true");
    try {
      const response = await fetch("/api/pictures", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: picture });
      const answer = await response.json();
      if (response.ok) ask(answer.term);
      else toast(answer.error);
    } catch {
      toast("rclip does not answer: is it still running?");
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  button.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    take(file.files[0]);
    file.value = "";
  });
  addEventListener("paste", (event) => {
    const picture = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (picture) {
      event.preventDefault();
      take(picture);
    }
  });

  let depth = 0; // dragging over a child leaves its parent
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => hasFile(event) && (depth++, (drop.hidden = false)));
  addEventListener("dragleave", (event) => hasFile(event) && --depth <= 0 && (drop.hidden = true));
  addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    depth = 0;
    drop.hidden = true;
    take(event.dataTransfer.files[0]);
  });
}
