// The page: a bar above, the map as large as can be, tabs beside it (below it on a narrow screen), and the keys.

import type { App } from "./app";
import { YOURS } from "./app";
import { button, fill, h } from "./dom";
import type { MapView } from "./map/mapview";
import type { Pictures } from "./map/overlay";
import { classesPanel } from "./panels/classes";
import { helpDialog } from "./panels/help";
import { itemPanel } from "./panels/item";
import { labelPanel } from "./panels/label";
import { latentsPanel } from "./panels/latents";
import { legend } from "./panels/legend";
import { mixPanel } from "./panels/mix";
import { placeCard } from "./panels/place";
import { pythonPanel } from "./panels/python";
import { saveMenu } from "./panels/save";
import { searchBox } from "./panels/search";

/** Lays out the page; what it gives back shows a tab. */
export function frame(app: App, map: MapView, turn: () => void): (tab: number) => void {
  const mix = mixPanel(app);
  const label = labelPanel(app);
  const tabs = tabbed([
    ["Item", itemPanel(app)],
    ["Latents", latentsPanel(app)],
    ["Mix", mix],
    ["Averages", classesPanel(app)],
    ["Label", label],
    ["Python", pythonPanel(app)],
  ]);
  const compute = (text: string) => {
    tabs.show(2);
    mix.expression(text);
  };
  const help = helpDialog();
  const search = searchBox(app, map, compute);
  const said = h("div", { class: "said", role: "status", "aria-live": "polite" });
  let fading: ReturnType<typeof setTimeout> | undefined;
  app.on("say", () => {
    said.textContent = app.said;
    said.classList.add("seen");
    clearTimeout(fading);
    fading = setTimeout(() => said.classList.remove("seen"), 3500);
  });

  map.element.append(tools(app, map), legend(app), placeCard(app, map), hint(app, map), said);
  if (map.points.kind === "canvas") {
    map.element.append(h("p", { class: "fallback" }, "No WebGL here: points are plain squares, without soft edges and shapes."));
  }
  document.body.append(
    h("header", { class: "bar" },
      h("h1", null, app.opened.title, h("small", null, `${app.opened.model.kind}, ${app.opened.model.latent_dim} latents, ${app.opened.n} items`)),
      projections(app), colours(app), search, saveMenu(app, map),
      button("◐", turn, { class: "icon", "aria-label": "dark or light", title: "Dark or light (t)" }),
      button("?", () => help.showModal(), { class: "icon", "aria-label": "keys", title: "Keys (?)" })),
    h("main", null, map.element, tabs.element),
    help,
  ); // prettier-ignore

  const keys: Record<string, () => void> = {
    "/": () => search.querySelector("input")!.focus(),
    "?": () => help.showModal(),
    l: () => map.setTool(map.tool === "lasso" ? "move" : "lasso"),
    v: () => app.choose(map.inView()),
    t: turn,
    p: () => nextPictures(app, map),
    n: () => {
      tabs.show(4);
      label.querySelector("input")!.focus();
    },
    "[": () => step(app, map, -1),
    "]": () => step(app, map, 1),
    Escape: () => {
      map.setTool("move");
      app.selected = -1;
      app.hand = null;
      app.mark([], null);
      app.choose([]);
      app.emit("selected");
    },
  };
  "abc".split("").forEach((key, slot) => (keys[key] = () => app.selected >= 0 && (app.put(slot, app.selected), tabs.show(2))));
  for (let i = 0; i < 6; i++) keys[String(i + 1)] = () => tabs.show(i, true);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if ((event.target as HTMLElement).matches("input:not([type=range]), select, textarea")) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  app.on("chosen", () => app.chosen.length && tabs.show(4));
  let last = -1;
  app.on("selected", () => {
    if (app.selected >= 0 && app.selected !== last && tabs.shown() === 3) tabs.show(0);
    last = app.selected;
  });
  return tabs.show;
}

function step(app: App, map: MapView, by: number): void {
  const n = app.opened.n;
  let i = app.selected < 0 ? (by > 0 ? -1 : n) : app.selected;
  do i += by;
  while (i >= 0 && i < n && !app.shown[i]);
  if (i < 0 || i >= n) return;
  app.select(i);
  map.reveal(app.points[2 * i]!, app.points[2 * i + 1]!);
}

function nextPictures(app: App, map: MapView): void {
  const order: Pictures[] = ["auto", "always", "never"];
  const next = order[(order.indexOf(map.over.pictures) + 1) % 3]!;
  map.setPictures(next);
  app.say(`pictures ${next === "auto" ? "when close" : next}`);
}

function tools(app: App, map: MapView): HTMLElement {
  const lasso = button("lasso", () => map.setTool(map.tool === "lasso" ? "move" : "lasso"), { title: "Draw around points (l)", "aria-pressed": "false" });
  map.ontool = () => lasso.setAttribute("aria-pressed", String(map.tool === "lasso"));
  return h("div", { class: "tools", role: "toolbar", "aria-label": "map" },
    button("+", () => map.zoom(1.6), { "aria-label": "zoom in", title: "Zoom in (+)" }),
    button("−", () => map.zoom(1 / 1.6), { "aria-label": "zoom out", title: "Zoom out (−)" }),
    button("all", () => map.fit(), { title: "The whole map (0)" }),
    lasso,
    (app.thumbnails || app.opened.names) && button(app.thumbnails ? "pictures" : "names", () => nextPictures(app, map), { title: "On the map when close, always, never (p)" })); // prettier-ignore
}

/** One line for those who are here for the first time: gone once they have done it. */
function hint(app: App, map: MapView): HTMLElement {
  const line = h("p", { class: "first" }, matchMedia("(hover: none)").matches
    ? "Tap an empty place: the model makes what would be there."
    : "Move over the map: the model makes what would be there."); // prettier-ignore
  let moves = 0;
  map.element.addEventListener("pointermove", () => {
    if (++moves > 60) line.classList.add("gone");
  });
  app.on(["code", "chosen", "say"], () => line.classList.add("gone"));
  return line;
}

function projections(app: App): HTMLElement {
  const select = h("select", { "aria-label": "projection", title: "Projection" });
  const note = h("span", { class: "quiet" });
  const more = app.opened.static ? [] : ["tsne", "umap"].filter((name) => !app.opened.maps.some((m) => m.name === name));
  const show = () => {
    const missing = more.filter((name) => !app.opened.maps.some((m) => m.name === name));
    fill(select,
      app.opened.maps.map((m) => h("option", { value: m.name }, m.title)),
      missing.map((name) => h("option", { value: `make ${name}` }, name === "tsne" ? "t-SNE (takes a while)" : "UMAP (takes a while)"))); // prettier-ignore
    select.value = app.mapInfo?.name ?? "";
  };
  const make = async (name: string) => {
    for (;;) {
      const answer = await app.source.map(name);
      if (!answer) throw new Error("only Python can make this map");
      if (answer.map) return app.showMap(answer.map);
      fill(note, `${name}: about ${Math.max(1, Math.round(answer.wait ?? 1))} s`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(Math.max(answer.wait ?? 1, 0.5), 3)));
    }
  };
  select.addEventListener("change", () => {
    const info = app.opened.maps.find((m) => m.name === select.value);
    (info ? app.showMap(info) : make(select.value.replace("make ", "")))
      .catch((error: Error) => app.say(error.message))
      .finally(() => {
        fill(note);
        show();
      });
  });
  app.on("map", show);
  show();
  return h("label", { class: "choice" }, h("span", null, "map"), select, note);
}

function colours(app: App): HTMLElement {
  const select = h("select", { "aria-label": "colour", title: "Colour" });
  const show = () => {
    fill(select, app.allColours.map((c) => h("option", { value: c.name }, c.title)), h("option", { value: "" }, "one colour"));
    select.value = app.colouring?.info.name ?? "";
  };
  select.addEventListener("change", () => {
    app.colourBy(select.value || null).catch((error: Error) => app.say(error.message));
    const info = app.allColours.find((c) => c.name === select.value);
    if (info && info.name !== YOURS) app.say(`colour: ${info.title}`);
  });
  app.on(["colour", "spread"], show);
  return h("label", { class: "choice" }, h("span", null, "colour"), select);
}

function tabbed(pages: [string, HTMLElement][]): { element: HTMLElement; show(i: number, focus?: boolean): void; shown(): number } {
  let now = 0;
  const heads = pages.map(([name], i) =>
    h("button", { type: "button", role: "tab", id: `tab${i}`, "aria-controls": `page${i}`, onclick: () => show(i), onkeydown: (event: KeyboardEvent) => {
      const to = event.key === "ArrowRight" ? i + 1 : event.key === "ArrowLeft" ? i - 1 : -9;
      if (to > -9) show((to + pages.length) % pages.length, true);
    } }, name)); // prettier-ignore
  const show = (i: number, focus = false) => {
    now = i;
    pages.forEach(([, page], j) => (page.hidden = j !== i));
    heads.forEach((head, j) => {
      head.setAttribute("aria-selected", String(j === i));
      head.tabIndex = j === i ? 0 : -1;
    });
    if (focus) heads[i]!.focus();
  };
  pages.forEach(([, page], i) => {
    page.id = `page${i}`;
    page.setAttribute("role", "tabpanel");
    page.setAttribute("aria-labelledby", `tab${i}`);
  });
  show(0);
  const element = h("aside", null, h("div", { class: "tabs", role: "tablist", "aria-label": "panels" }, heads), h("div", { class: "pages" }, pages.map(([, page]) => page)));
  return { element, show, shown: () => now };
}
