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
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
}

// An element with data-refresh waits for something: the page is asked for anew each second, until it no longer waits;
// then every element with data-live is taken from it.
for (const element of document.querySelectorAll("[data-refresh]")) {
  const look = async () => {
    let page = null;
    try {
      const answer = await fetch(location.href);
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      // The connection was lost: look again.
    }
    const found = page?.getElementById(element.id);
    if (!found || "refresh" in found.dataset) return setTimeout(look, 1000);
    for (const live of document.querySelectorAll("[data-live]")) {
      live.innerHTML = page.getElementById(live.id)?.innerHTML ?? live.innerHTML;
    }
  };
  setTimeout(look, 700);
}
