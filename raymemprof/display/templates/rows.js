((id, { more, newestLast, sorts, opens }, makeOpener) => {
  // Has a table sort by a column and filter its rows, those that are not shown too, and open what a row is of. Nothing
  // is fetched.
  const table = document.querySelector(`#${id}:not([data-sorts])`);
  if (!table) return;
  table.dataset.sorts = "";
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells], model = body.rows[0];
  const inPage = [...body.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  const target = (place) => opens?.rows[place] ? opens.files[opens.rows[place][0]] + opens.rows[place][1] : "";
  const [shown, others] = [inPage, more].map((rows, part) =>
    rows.map((texts, place) => ({ texts, target: target(part * inPage.length + place) })));
  const all = newestLast ? [...others, ...shown] : [...shown, ...others];
  const isNumber = headings.map((heading) => heading.style.textAlign === "right");
  const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, ms: 1e-3, min: 60, h: 3600 };
  let column = -1, isUp = true;

  // "1.5 GiB", "2 min 03 s", "1,234"; what holds no number comes last.
  const number = (text) => {
    const parts = [...text.replaceAll(",", "").matchAll(/(-?\d+(?:\.\d+)?) ?([A-Za-z]*)/g)];
    return parts.length ? parts.reduce((sum, [, digits, unit]) => sum + Number(digits) * (UNITS[unit] || 1), 0) : null;
  };
  const value = (row) => isNumber[column] ? number(row.texts[column]) : row.texts[column] || null;
  const compare = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = isNumber[column] ? a - b : a.localeCompare(b);
    return isUp ? order : -order;
  };

  // Of a long text, breaks after slashes, underscores and dots, as the page has them.
  const fill = (place, text) => {
    const parts = text.length > 28 ? text.split(/(?<=[/_…])|(?<=\.)(?=[A-Za-z])/) : [text];
    place.replaceChildren(...parts.flatMap((part, at) => at ? [document.createElement("wbr"), part] : [part]));
  };
  const make = (tag, attributes) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  // A notebook takes keys for commands: JupyterLab unless this is said of what has the focus, others if a key reaches them.
  const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };
  const bar = make("div", { style: "display:flex;align-items:center;gap:8px;margin:4px 0" });
  const filter = make("input", {
    ...OWN_KEYS, type: "search", placeholder: "Filter", "aria-label": "Filter rows",
    style: "font:inherit;color:inherit;background:transparent;padding:2px 8px;margin:0;width:220px;height:auto;" +
      "border:1px solid color-mix(in srgb, currentColor 45%, transparent);border-radius:4px",
  });
  const told = make("output", { "aria-live": "polite" });
  bar.append(filter, told);

  const open = makeOpener?.(id, table);
  let opened = "";
  // The first cell is a button for keys and screen readers; one of all is reached with Tab, the others with arrows.
  const makeOpen = (row, { texts, target }) => {
    const press = make("button", {
      ...OWN_KEYS, type: "button", tabindex: "-1", "data-opens": "", title: "Open the flame graph",
      style: "font:inherit;color:inherit;background:transparent;border:0;padding:0;cursor:pointer;text-align:left;text-decoration:underline dotted",
    });
    fill(press, texts[0] || "Flame graph");
    row.cells[0].replaceChildren(press);
    row.style.cursor = "pointer";
    row.ariaCurrent = String(target === opened);
    row.addEventListener("click", () => {
      const marked = getSelection();
      if (!marked.isCollapsed && marked.containsNode(row, true)) return;  // text was marked, to copy it
      open(target, texts.slice(0, 3).join(" "), () => { opened = ""; mark(); });
      opened = target;
      mark();
    });
    row.dataset.target = target;
  };
  const mark = () => {
    for (const row of body.rows) {
      row.ariaCurrent = String(Boolean(row.dataset.target) && row.dataset.target === opened);
      row.style.outline = row.ariaCurrent === "true" ? "1px solid color-mix(in srgb, currentColor 70%, transparent)" : "";
    }
  };
  body.addEventListener("keydown", (event) => {
    const presses = [...body.querySelectorAll("[data-opens]")], place = presses.indexOf(event.target);
    if (place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    const to = presses[place + { ArrowDown: 1, ArrowUp: -1 }[event.key]];
    if (!to) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });

  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter(({ texts }) => words.every((word) => texts.join("\t").toLowerCase().includes(word)));
    if (column >= 0) found.sort(compare);
    const most = shown.length, begin = newestLast && column < 0 ? Math.max(found.length - most, 0) : 0;
    body.replaceChildren(...found.slice(begin, begin + most).map((one) => {
      const row = model.cloneNode(true);
      [...row.cells].forEach((cell, place) => { fill(cell, one.texts[place]); });
      if (one.target) makeOpen(row, one);
      return row;
    }));
    body.querySelector("[data-opens]")?.setAttribute("tabindex", "0");
    mark();
    const said = [];
    if (words.length) said.push(`${found.length} of ${all.length} rows match`);
    if (found.length > most) said.push(`${most} shown`);
    told.textContent = said.join(", ");
    if (sorts) headings.forEach((heading, place) => {
      heading.setAttribute("aria-sort", place !== column ? "none" : isUp ? "ascending" : "descending");
      heading.querySelector("span").textContent = place !== column ? "" : isUp ? " ▲" : " ▼";
    });
  };
  const sortBy = (place) => {
    [column, isUp] = [place, place === column ? !isUp : !isNumber[place]];  // of numbers, the largest are wanted first
    show();
  };

  if (sorts) {
    table.before(bar);
    headings.forEach((heading, place) => {
      heading.append(make("span", { "aria-hidden": "true" }));
      for (const [name, value] of Object.entries({ ...OWN_KEYS, tabindex: "0", title: "Sort" })) heading.setAttribute(name, value);
      heading.style.cursor = "pointer";
      heading.addEventListener("click", () => sortBy(place));
      heading.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        sortBy(place);
      });
    });
    filter.addEventListener("input", show);
    filter.addEventListener("keydown", (event) => event.stopPropagation());
  }
  show();
})
