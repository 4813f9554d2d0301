// Label by pointing: name a few items, see the names spread with their confidence, be asked for the next.

import type { App } from "../app";
import { YOURS } from "../app";
import { kindColour } from "../colour";
import { button, dark, fill, h, quiet, soon } from "../dom";
import { csv, saveText } from "../export";
import { vote, VOTERS } from "../vote";
import { itemButton } from "./item";

export function labelPanel(app: App): HTMLElement {
  const name = h("input", { type: "text", list: "names", placeholder: "name, e.g. cat", "aria-label": "name for the selected items", autocomplete: "off", maxlength: 80 });
  const known = h("datalist", { id: "names" });
  const target = h("p", { class: "facts" });
  const list = h("div", { class: "levels" });
  const next = h("div", { class: "items" });
  const about = h("p", { class: "facts" });
  const none = h("p", { class: "hint" }, "Click a point or draw a lasso (key l), type a name, press Enter. Two names are enough to begin.");
  let run = 0;
  let byPage = false;
  let refused = "";

  const aimed = (): number[] => (app.chosen.length ? app.chosen : app.selected >= 0 ? [app.selected] : []);

  const aim = () => {
    const items = aimed();
    fill(target, items.length > 1 ? `names ${items.length} items` : items.length ? `names ${app.titleOf(items[0]!)}` : "nothing selected yet");
  };

  const give = (text: string) => {
    const items = aimed();
    if (!text.trim()) app.say("type a name first");
    else if (!items.length) app.say("select an item or draw a lasso first");
    else {
      app.label(items, text.trim());
      name.value = "";
      if (app.chosen.length) app.choose([]);
    }
  };

  const spread = quiet(150, () => void (async () => {
    const mine = ++run;
    const labels = Object.fromEntries(app.labels);
    const kinds = new Set(app.labels.values());
    if (kinds.size < 2) {
      app.spread = null;
      if (app.colouring?.info.name === YOURS) await app.colourBy(app.opened.colours[0]?.name ?? null);
      app.emit("spread");
      return;
    }
    refused = "";
    fill(about, "the names are spreading …");
    const asked = app.opened.static ? null : await app.source.label(labels).catch((error: Error) => ((refused = error.message), null));
    const answer = asked ?? (app.codes && (await vote(labels, app.codes, soon)));
    if (mine !== run || !answer) return;
    app.spread = answer;
    app.defineSpread(answer.python ?? `found = im.label(model, X, y)  # in this page: a vote of the ${Math.min(VOTERS, app.labels.size)} nearest labelled items`);
    byPage = !asked;
    await app.colourBy(YOURS);
    app.emit("spread");
  })()); // prettier-ignore

  const show = () => {
    const counts = new Map<string, number>();
    for (const label of app.labels.values()) counts.set(label, (counts.get(label) ?? 0) + 1);
    const told = app.spread;
    const spreadTo = new Map<string, { count: number; sure: number }>();
    told?.levels.forEach((level, l) => {
      let count = 0;
      let sum = 0;
      for (let i = 0; i < told.labels.length; i++) {
        if (told.labels[i] !== l) continue;
        count++;
        sum += told.confidence[i]!;
      }
      spreadTo.set(level, { count, sure: count ? sum / count : 0 });
    });
    const names = [...counts.keys()].sort();
    none.hidden = names.length >= 2;
    fill(known, names.map((n) => h("option", { value: n })));
    fill(list, names.map((n) => {
      const to = spreadTo.get(n);
      const level = told?.levels.indexOf(n) ?? -1;
      return h("div", { class: "level" },
        h("i", { class: "dot", style: { background: level >= 0 ? kindColour(level, dark()) : "currentColor" } }),
        button(n, () => give(n), { class: "link", title: "give this name to what is selected" }),
        h("span", { class: "quiet" }, `${counts.get(n)} named${to ? ` · ${to.count} told · ${Math.round(100 * to.sure)} % sure` : ""}`),
        button("×", () => app.label([...app.labels].filter(([, l]) => l === n).map(([i]) => i), null), { class: "link", "aria-label": `take the name ${n} away` }));
    })); // prettier-ignore
    fill(about, told ? [
      told.error !== null ? `Estimated error ${(100 * told.error).toFixed(1)} %. ` : "",
      "The paler a point, the less sure. ",
      byPage ? "Spread in this page, by a vote of the nearest labelled items." : "",
      refused && h("span", { class: "quiet" }, ` Python: ${refused}`),
    ] : ""); // prettier-ignore
    const asked = (told?.suggest ?? []).filter((i) => !app.labels.has(i)).slice(0, 8);
    fill(next, asked.length > 0 && h("h3", null, "Most useful to name next"), asked.map((i) => itemButton(app, i, told!.levels[told!.labels[i]!] ?? "")));
    aim();
  };

  const exported = () => {
    const told = app.spread;
    const rows = Array.from({ length: app.opened.n }, (_, i): (string | number)[] => [
      i, app.nameOf(i), app.labels.get(i) ?? "", told ? (told.levels[told.labels[i]!] ?? "") : "", told ? Number(told.confidence[i]!.toFixed(4)) : "",
    ]).filter((row) => told || row[2]); // prettier-ignore
    saveText(`${app.opened.title} labels.csv`, csv(["item", "name", "label", "told", "confidence"], rows));
  };

  app.on("labels", () => {
    show();
    spread();
  });
  app.on("codes", () => app.labels.size && spread());
  app.on(["spread", "colour"], show);
  app.on(["selected", "chosen"], aim);
  show();
  return h(
    "div",
    { class: "panel label" },
    h("header", { class: "title" }, h("h2", null, "Label by pointing"), target),
    h("form", { class: "row", onsubmit: (event: Event) => { event.preventDefault(); give(name.value); } }, name, known, h("button", { type: "submit" }, "name")),
    none,
    list,
    about,
    next,
    h("div", { class: "row" }, button("export CSV", exported), button("forget this item's name", () => app.label(aimed(), null))),
  ); // prettier-ignore
}
