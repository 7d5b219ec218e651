(async (id, title, packed) => {
  // Draws a flame graph in place of its picture. All of it is here: nothing is fetched.
  const places = [...document.querySelectorAll(`[data-raymemprof="${id}"]:not([data-drawn])`)];
  if (!places.length || !window.DecompressionStream) return;
  for (const place of places) place.dataset.drawn = "";

  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const [texts, depth, size, allocations, labels, functions, files, own] = await new Response(plain).json();

  const ROW = 20;
  const TALLEST = 480;
  const OWN = "hsl(30 90% 52% / .45)", LIBRARY = "hsl(215 45% 55% / .3)";
  const STYLE = `
    .rmp-bar { display: flex; align-items: center; gap: 8px; margin: 4px 0; }
    .rmp-bar input, .rmp-bar button { font: inherit; color: inherit; background: transparent; padding: 2px 8px; margin: 0;
      border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 4px; width: auto; height: auto; }
    .rmp-bar input { flex: 0 1 220px; min-width: 80px; }
    .rmp-bar button { white-space: nowrap; cursor: pointer; }
    .rmp-bar button:disabled { opacity: .45; cursor: default; }
    .rmp-bar output { flex: 1; min-width: 0; }
    .rmp-bar output, .rmp-told div { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .rmp-told div { height: 1.5em; line-height: 1.5em; }
    .rmp-told div + div { font: 12px/1.5 ui-monospace, Menlo, Consolas, monospace; height: 1.5em; }
    .rmp-frame { overflow-x: hidden; overflow-y: auto; max-height: ${TALLEST}px; }
    .rmp-boxes { position: relative; }
    .rmp-boxes div { position: absolute; height: ${ROW - 1}px; line-height: ${ROW - 1}px; box-sizing: border-box; padding: 0 3px;
      border-right: 1px solid transparent; background-clip: padding-box; border-radius: 2px; cursor: pointer;
      overflow: hidden; white-space: pre; text-overflow: ellipsis; font: 12px/${ROW - 1}px ui-monospace, Menlo, Consolas, monospace;
      background-color: ${LIBRARY}; }
    .rmp-boxes .rmp-narrow { padding: 0; }
    .rmp-boxes .rmp-own { background-color: ${OWN}; }
    .rmp-boxes .rmp-other { background-color: hsl(0 0% 50% / .25); }
    .rmp-searched div:not(.rmp-hit) { opacity: .5; }
    .rmp-boxes .rmp-above { opacity: .6; }
    .rmp-boxes .rmp-hit { background-color: hsl(290 75% 60% / .5); }
    .rmp-boxes div:hover, .rmp-boxes div:focus { outline: 2px solid currentColor; outline-offset: -2px; opacity: 1; }`;

  // What the script reads often: where a box begins, what it stands on, and the last box that stands on it.
  const count = size.length;
  const start = new Array(count).fill(0), under = new Array(count).fill(-1), last = new Array(count).fill(0);
  const free = [0], path = [];
  for (let box = 0; box < count; box++) {
    start[box] = free[depth[box]];
    free[depth[box]] += size[box];
    free[depth[box] + 1] = start[box];
    path[depth[box]] = box;
    under[box] = depth[box] ? path[depth[box] - 1] : -1;
  }
  for (let box = count - 1; box >= 0; box--) {
    last[box] = Math.max(last[box], box);
    if (box) last[under[box]] = Math.max(last[under[box]], last[box]);
  }

  const sizeText = (bytes) => {
    let unit = 0;
    while (Math.abs(bytes) >= 1024 && unit < 4) { bytes /= 1024; unit++; }
    return `${bytes.toFixed(unit ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
  };
  const share = (bytes) => size[0] ? `${(100 * bytes / size[0]).toFixed(1)} %` : "";
  const figures = (box) => `${sizeText(size[box])}, ${share(size[box])}, ${allocations[box].toLocaleString("en")} allocation${allocations[box] === 1 ? "" : "s"}`;
  const label = (box) => texts[labels[box]];
  const where = (box) => [texts[functions[box]], texts[files[box]]].filter(Boolean).join(" · ");
  const described = (box) => [...new Set([label(box), where(box), figures(box)])].join(" · ");
  // A notebook takes keys for commands ("d" "d" deletes a cell): JupyterLab unless this is said of what has the focus,
  // others if the key reaches them.
  const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const show = (place) => {
    const search = make("input", { ...OWN_KEYS, type: "search", placeholder: "Search", "aria-label": "Search functions, files, lines" });
    const found = make("output", { "aria-live": "polite" });
    const reset = make("button", { ...OWN_KEYS, type: "button" }, "Reset zoom");
    const told = make("div", { class: "rmp-told" });
    const boxes = make("div", { class: "rmp-boxes", role: "tree", "aria-label": `Flame graph: ${title}. Arrow keys move, Enter zooms, Escape resets the zoom.` });
    const frame = make("div", { class: "rmp-frame" }, boxes);
    let zoomed = 0, current = 0, wanted = "", elements = new Map();

    const isAbove = (box) => box < zoomed && zoomed <= last[box];
    const isHit = (box) => [labels[box], functions[box], files[box]].some((text) => texts[text].toLowerCase().includes(wanted));
    const tell = (box) => {
      told.replaceChildren(make("div", {}, `${figures(box)} · ${where(box)}`), make("div", {}, box ? label(box) : ""));
    };

    const draw = () => {
      const from = start[zoomed], span = size[zoomed] || 1;
      const narrowest = span / (boxes.clientWidth || 900);
      let deepest = 0;
      elements = new Map();
      for (let box = 0; box < count; box++) {
        const above = isAbove(box);
        if (!above && (box < zoomed || box > last[zoomed])) continue;
        if (box !== zoomed && !above && size[box] < narrowest) { box = last[box]; continue; }
        const [left, width] = above || box === zoomed ? [0, 1] : [(start[box] - from) / span, size[box] / span];
        const kind = own[box] ? "rmp-own" : texts[files[box]] ? "" : "rmp-other";
        const is_narrow = size[box] < 12 * narrowest && !above;
        const classes = [kind, above ? "rmp-above" : "", is_narrow ? "rmp-narrow" : "", wanted && isHit(box) ? "rmp-hit" : ""];
        const element = make("div", {
          ...OWN_KEYS,
          class: classes.filter(Boolean).join(" "),
          role: "treeitem",
          tabindex: box === current ? 0 : -1,
          "aria-level": depth[box] + 1,
          "aria-label": described(box),
          "aria-selected": box === zoomed,
          "data-box": box,
          style: `left:${100 * left}%;width:${100 * width}%;top:${depth[box] * ROW}px`,
        }, is_narrow ? "" : box ? label(box) : `all, ${sizeText(size[0])}`);
        elements.set(box, element);
        deepest = Math.max(deepest, depth[box]);
      }
      boxes.style.height = `${(deepest + 1) * ROW}px`;
      boxes.classList.toggle("rmp-searched", Boolean(wanted));
      boxes.replaceChildren(...elements.values());
      reset.disabled = !zoomed;
      tell(zoomed);
    };
    const focus = (box) => {
      if (!elements.has(box)) return;
      elements.get(current)?.setAttribute("tabindex", -1);
      current = box;
      elements.get(box).setAttribute("tabindex", 0);
      elements.get(box).focus();
    };
    const zoom = (box) => {
      const had_focus = boxes.contains(document.activeElement);
      zoomed = current = box;
      draw();
      const below = depth[box] * ROW - frame.clientHeight / 3;
      frame.scrollTop = Math.max(below, 0);
      if (had_focus) focus(box);
    };
    const look = () => {
      wanted = search.value.trim().toLowerCase();
      let hits = 0, held = 0, counted = -1;
      for (let box = 0; wanted && box < count; box++) {
        if (!isHit(box)) continue;
        hits++;
        if (box > counted) { held += size[box]; counted = last[box]; }
      }
      found.textContent = !wanted ? "" : hits ? `${hits} found: ${sizeText(held)}, ${share(held)}` : "Nothing found";
      draw();
    };
    const beside = (box, step) => {
      const row = [...elements.keys()].filter((other) => depth[other] === depth[box]);
      return row[row.indexOf(box) + step] ?? box;
    };
    const hasModifier = (event) => event.ctrlKey || event.metaKey || event.altKey;
    const boxAt = (event) => {
      const element = event.target.closest("[data-box]");
      return element ? Number(element.dataset.box) : null;
    };

    search.addEventListener("input", look);
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !wanted) return;
      const hit = size.findIndex((_, box) => isHit(box));  // the largest come first
      if (hit >= 0) { zoom(hit); focus(hit); }
    });
    reset.addEventListener("click", () => zoom(0));
    boxes.addEventListener("click", (event) => { const box = boxAt(event); if (box !== null) zoom(box); });
    boxes.addEventListener("mouseover", (event) => { const box = boxAt(event); if (box !== null) tell(box); });
    boxes.addEventListener("mouseleave", () => tell(zoomed));
    boxes.addEventListener("focusin", (event) => { const box = boxAt(event); if (box !== null) tell(box); });
    boxes.addEventListener("keydown", (event) => {
      const box = boxAt(event);
      if (box === null || hasModifier(event)) return;
      const to = {
        ArrowUp: () => focus(under[box]),
        ArrowDown: () => focus([...elements.keys()].find((other) => under[other] === box)),
        ArrowLeft: () => focus(beside(box, -1)),
        ArrowRight: () => focus(beside(box, 1)),
        Home: () => focus(0),
        Enter: () => zoom(box),
        " ": () => zoom(box),
        Escape: () => zoom(0),
      }[event.key];
      if (!to) return;
      to();
      event.preventDefault();
    });
    place.addEventListener("keydown", (event) => { if (!hasModifier(event)) event.stopPropagation(); });

    const bar = make("div", { class: "rmp-bar", role: "toolbar", "aria-label": "Flame graph" }, search, found, reset);
    place.replaceChildren(make("style", {}, STYLE), bar, told, frame);
    const colours = [OWN, LIBRARY];
    place.nextElementSibling?.querySelectorAll("span").forEach((one, at) => {  // the picture's, until now
      Object.assign(one.style, { background: colours[at], color: "inherit" });
    });
    draw();
  };
  places.forEach(show);
})
