((id, table) => {
  // Shows below a table the flame graph of what a row is of. The kernel draws it, if it listens; else it is said what to run.
  const make = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const BUTTON = "font:inherit;color:inherit;background:transparent;padding:2px 8px;cursor:pointer;" +
    "border:1px solid color-mix(in srgb, currentColor 45%, transparent);border-radius:4px";
  const button = (text, act) => {
    const made = make("button", { type: "button", style: BUTTON }, text);
    made.addEventListener("click", act);
    return made;
  };
  const told = make("div", { role: "status", style: "margin-bottom:4px" });
  const drawn = make("div", {});
  const place = make("section", { style: "margin:8px 0;padding:8px;border:1px solid color-mix(in srgb, currentColor 30%, transparent);border-radius:4px" });
  const PATIENCE = 4000;  // milliseconds
  let wanted = "", close = () => {};

  const tell = (target, before) => {
    const code = make("code", { style: "user-select:all;overflow-wrap:anywhere" }, `raymemprof.flamegraph(${JSON.stringify(target)})`);
    told.replaceChildren(before, " ", code, " ");
    const copy = () => navigator.clipboard?.writeText(code.textContent).then(() => told.append(" It is copied."), () => getSelection().selectAllChildren(code));
    told.append(button("Copy", copy));
    return copy;
  };
  // Returns whether what is shown was asked for last.
  const show = (target, found) => {
    if (target !== wanted) return;
    wanted = "";
    told.replaceChildren(found.error ?? "");
    drawn.replaceChildren(document.createRange().createContextualFragment(found.html ?? ""));
    place.scrollIntoView({ block: "nearest" });
  };

  return (target, name, whenClosed) => {
    close();
    close = () => { place.remove(); whenClosed(); wanted = ""; close = () => {}; };
    wanted = target;
    drawn.replaceChildren();
    place.setAttribute("aria-label", `Flame graph of ${name}`);
    place.replaceChildren(make("div", { style: "float:right" }, button("Close", () => close())), told, drawn);
    table.after(place);
    const ask = new CustomEvent("raymemprof-opens", {
      cancelable: true, detail: { table: id, target, show: (found) => show(target, found) },
    });
    if (document.dispatchEvent(ask)) {  // nobody listens
      wanted = "";
      tell(target, "Run this to see its flame graph:")()?.catch(() => {});
    } else {
      told.replaceChildren("The kernel draws the flame graph …");
      setTimeout(() => { if (wanted === target) tell(target, "The kernel is busy, or has been restarted. In a cell:"); }, PATIENCE);
    }
    place.scrollIntoView({ block: "nearest" });
  };
})
