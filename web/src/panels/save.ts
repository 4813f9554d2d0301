// Everything that the page shows, as files.

import type { App } from "../app";
import type { MapView } from "../map/mapview";
import { css, kindColour, sequential, valueText } from "../colour";
import { button, dark, h, token } from "../dom";
import { csv, csvParts, saveCanvas, saveText, svg } from "../export";

export function saveMenu(app: App, map: MapView): HTMLElement {
  const title = () => `${app.opened.title} ${app.mapInfo?.name ?? "map"}`;
  const entry = (words: string, job: () => void) =>
    button(words, () => {
      menu.removeAttribute("open");
      job();
    });
  const menu = h("details", { class: "menu" },
    h("summary", { title: "Save what is shown" }, "Save"),
    h("div", null,
      entry("map as PNG", () => void saveCanvas(`${title()}.png`, map.picture())),
      entry("map as SVG", () => saveText(`${title()}.svg`, drawing(app, map), "image/svg+xml")),
      entry("codes as CSV", () => saveText(`${app.opened.title} codes.csv`, codesCsv(app, null))),
      entry("selection as CSV", () => app.chosen.length || app.selected >= 0
        ? saveText(`${app.opened.title} selection.csv`, codesCsv(app, app.chosen.length ? app.chosen : [app.selected]))
        : app.say("nothing is selected")),
      entry("labels as CSV", () => saveText(`${app.opened.title} labels.csv`, csv(["item", "name", "label"],
        [...app.labels].sort((a, b) => a[0] - b[0]).map(([i, l]) => [i, app.nameOf(i), l])))))); // prettier-ignore
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget as Node | null)) menu.removeAttribute("open");
  });
  return menu;
}

function drawing(app: App, map: MapView): string {
  const c = app.colouring;
  const night = dark();
  const legend =
    c?.info.kind === "category"
      ? (c.info.levels ?? []).map((text, l) => ({ colour: kindColour(l, night), text }))
      : c
        ? [0, 1 / 3, 2 / 3, 1].map((t) => ({ colour: css(sequential(t, night)), text: valueText(c, c.low + t * (c.high - c.low)) }))
        : [];
  return svg({
    width: Math.round(map.camera.width),
    height: Math.round(map.camera.height),
    ground: token("--map"),
    ink: token("--ink"),
    title: `${app.opened.title}: ${app.mapInfo?.title ?? ""}${c ? `, ${c.info.title}` : ""}`,
    radius: map.radius,
    points: map.visible(),
    texts: map.names(),
    legend,
  });
}

function codesCsv(app: App, only: number[] | null): string[] {
  const codes = app.codes;
  const size = codes?.size ?? 0;
  const head = ["item", "name", "map x", "map y", ...(app.colouring ? [app.colouring.info.title] : []), ...Array.from({ length: size }, (_, k) => `latent ${k}`)];
  const rows = function* (): Generator<(string | number)[]> {
    for (const i of only ?? Array(app.opened.n).keys()) {
      yield [i, app.nameOf(i), app.points[2 * i]!, app.points[2 * i + 1]!, ...(app.colouring ? [rawValue(app, i)] : []), ...(codes?.of(i) ?? [])];
    }
  };
  return csvParts(head, rows());
}

function rawValue(app: App, i: number): string | number {
  const { info, values } = app.colouring!;
  if (info.kind === "category") return info.levels?.[values[i]!] ?? "";
  return info.format ? valueText({ info, least: 0, most: 1 }, values[i]!) : values[i]!;
}
