((id, more, newestLast) => {
  // Has a table sort by a column and filter its rows, those that are not shown too. Nothing is fetched.
  const table = document.querySelector(`#${id}:not([data-sorts])`);
  if (!table) return;
  table.dataset.sorts = "";
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells], model = body.rows[0];
  const shown = [...body.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  const all = newestLast ? [...more, ...shown] : [...shown, ...more];
  const isNumber = headings.map((heading) => heading.style.textAlign === "right");
  const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, ms: 1e-3, min: 60, h: 3600 };
  let column = -1, isUp = true;

  // "1.5 GiB", "2 min 03 s", "1,234"; what holds no number comes last.
  const number = (text) => {
    const parts = [...text.replaceAll(",", "").matchAll(/(-?\d+(?:\.\d+)?) ?([A-Za-z]*)/g)];
    return parts.length ? parts.reduce((sum, [, digits, unit]) => sum + Number(digits) * (UNITS[unit] || 1), 0) : null;
  };
  const compare = (one, other) => {
    const [a, b] = isNumber[column] ? [number(one[column]), number(other[column])] : [one[column] || null, other[column] || null];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = isNumber[column] ? a - b : a.localeCompare(b);
    return isUp ? order : -order;
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
  table.before(bar);

  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((texts) => words.every((word) => texts.join("\t").toLowerCase().includes(word)));
    if (column >= 0) found.sort(compare);
    const most = shown.length, begin = newestLast && column < 0 ? Math.max(found.length - most, 0) : 0;
    body.replaceChildren(...found.slice(begin, begin + most).map((texts) => {
      const row = model.cloneNode(true);
      [...row.cells].forEach((cell, place) => { cell.textContent = texts[place]; });
      return row;
    }));
    const said = [];
    if (words.length) said.push(`${found.length} of ${all.length} rows match`);
    if (found.length > most) said.push(`${most} shown`);
    told.textContent = said.join(", ");
    headings.forEach((heading, place) => {
      heading.setAttribute("aria-sort", place !== column ? "none" : isUp ? "ascending" : "descending");
      heading.querySelector("span").textContent = place !== column ? "" : isUp ? " ▲" : " ▼";
    });
  };
  const sortBy = (place) => {
    [column, isUp] = [place, place === column ? !isUp : !isNumber[place]];  // of numbers, the largest are wanted first
    show();
  };

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
  show();
})
