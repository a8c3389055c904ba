"use strict";
(() => {
  // The part of the page that changes is asked for again; it is put in place only when it differs, and never under a selection.
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const said = document.getElementById("said");
  const every = Number(main.dataset.every);
  let before = main.dataset.tag;
  let spoken = main.firstElementChild?.dataset.say || "";
  let misses = 0;
  const note = document.createElement("p");
  note.className = "note";
  note.id = "stale";
  note.setAttribute("role", "status");
  note.textContent = "The server does not answer: what is shown may be old.";
  const focusOf = () => {
    const link = document.activeElement?.closest?.("main a");
    return link ? link.getAttribute("href") : null;
  };
  const show = (text) => {
    const place = focusOf();
    main.innerHTML = text;
    if (place) [...main.querySelectorAll("a")].find((a) => a.getAttribute("href") === place)?.focus();
    const words = main.firstElementChild?.dataset.say || "";
    if (words !== spoken) { if (spoken) said.textContent = words; spoken = words; }
  };
  const ask = async () => {
    try {
      const answer = await fetch(main.dataset.live, { credentials: "same-origin" });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      misses = 0;
      note.remove();
      const tag = answer.headers.get("ETag");
      if (tag !== before && getSelection().isCollapsed) { show(text); before = tag; }
    } catch {
      misses += 1;
      if (misses === 3) main.before(note);
    }
    setTimeout(ask, document.hidden ? every * 10 : every);
  };
  setTimeout(ask, every);
})();
