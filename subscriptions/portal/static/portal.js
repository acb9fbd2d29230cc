// What the portal does beyond pages and forms: copying commands, pressing the button of a link, following progress.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

for (const form of document.querySelectorAll("form[data-submit]")) {
  form.requestSubmit();
}

// An element with data-stream is replaced by the fragments that this URL sends; an event "end" loads the page anew.
for (const element of document.querySelectorAll("[data-stream]")) {
  const source = new EventSource(element.dataset.stream);
  source.addEventListener("fragment", (event) => { element.innerHTML = event.data; });
  source.addEventListener("end", () => { source.close(); location.reload(); });
}
