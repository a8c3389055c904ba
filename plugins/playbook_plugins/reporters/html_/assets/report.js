"use strict";
(() => {
  const root = document.documentElement;
  const said = document.getElementById("said");
  const say = (text) => { said.textContent = ""; setTimeout(() => { said.textContent = text; }, 30); };
  const button = (text, run) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", run);
    return made;
  };

  // Light or dark: the system's choice, until somebody presses the button.
  const stored = () => { try { return localStorage.getItem("playbook-theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
  const theme = button("", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("playbook-theme", root.dataset.theme); } catch { /* it holds for this page then */ }
    label();
  });
  const label = () => { theme.textContent = dark() ? "Light colours" : "Dark colours"; };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => label());
  theme.className = "tool";
  theme.id = "theme";
  label();
  document.querySelector(".bar1").append(theme);

  // Tables: a button in each column head sorts, one below copies.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text.replaceAll(",", ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === "") return 1;
    if (b === "") return -1;
    if (typeof a === typeof b && typeof a === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
    rows.sort(([a], [b]) => (a === "" || b === "" ? compare(a, b) : (down ? -1 : 1) * compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    say(`sorted by ${heads[column].textContent.trim()}, ${down ? "descending" : "ascending"}`);
  };
  // A spreadsheet must not take a copied text for a formula; a negative number is none.
  const harmless = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const copy = async (table) => {
    const rows = [...table.rows].map((row) => [...row.cells].map((c) => harmless(c.textContent.trim().replace(/\s+/g, " "))).join("\t"));
    const text = rows.join("\n");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(`${rows.length - 1} rows copied`);
  };
  // What may have to be scrolled can be reached by keyboard, and has a name.
  for (const box of document.querySelectorAll(".scroll")) {
    const name = box.querySelector("caption")?.textContent;
    if (name) { box.tabIndex = 0; box.setAttribute("role", "region"); box.setAttribute("aria-label", name); }
  }
  for (const table of document.querySelectorAll("main:not([data-plain]) table.data")) {
    if (table.tBodies[0].rows.length > 1) {
      [...table.tHead.rows[0].cells].forEach((head, column) => {
        const text = head.textContent;
        head.textContent = "";
        head.append(button(text, () => sort(table, column)));
      });
    }
    const copier = button("Copy table", async () => {
      await copy(table);
      copier.textContent = "Copied";
      setTimeout(() => { copier.textContent = "Copy table"; }, 1500);
    });
    copier.className = "tool";
    table.parentElement.append(copier);
  }
})();
