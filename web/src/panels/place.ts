// The card at the pointer: what the model would make at this place of the map, live.

import type { App } from "../app";
import type { View } from "../contract";
import type { MapView, Pointed } from "../map/mapview";
import { pythonCode } from "../app";
import { latest } from "../decoder/decoder";
import { fill, h } from "../dom";
import { shown } from "../show";

const HERE = "what the model makes here";
const [ROWS, FEW_ROWS] = [10, 4]; // of a table
const STILL = 8; // pixels that the pointer may tremble after a press

export function placeCard(app: App, map: MapView): HTMLElement {
  const made = h("div", { class: "made" });
  const note = h("div", { class: "note" });
  const card = h("div", { class: "place", role: "status", "aria-live": "off", hidden: true }, made, note);
  const narrow = matchMedia("(max-width: 820px)");
  let now: Pointed | null = null;
  let pressed: Pointed | null = null; // where the card was sent away

  const follow = latest(async (pointed: Pointed) => {
    const code = app.codeAt(pointed.x, pointed.y);
    const words: (Node | string)[] = [];
    if (pointed.item >= 0) words.push(h("small", null, `nearest: ${app.titleOf(pointed.item)}${app.colouring ? `, ${app.colouring.info.title} ${app.valueOf(pointed.item)}` : ""}`)); // prettier-ignore
    if (code && app.density?.off(code)) words.push(h("span", { class: "warning" }, "off the map of the data"));
    if (!code) fill(made, h("span", { class: "quiet" }, app.codes ? "no items" : "codes are on their way"));
    else if (app.decoder?.why === null) {
      try {
        const view = await app.decoder.decode(code);
        if (now === null) return;
        const most = narrow.matches ? FEW_ROWS : ROWS;
        const { item } = app.opened;
        const out = item.kind === "table" ? item.columns.filter((c) => c.kind === "left out").map((c) => c.name) : [];
        const all = view.kind === "row" ? view.cells.filter(([column, value]) => value || !out.includes(column)) : [];
        const cut: View = view.kind === "row" ? { kind: "row", cells: all.slice(0, most) } : view;
        const side = view.kind !== "image" ? 200 : narrow.matches ? 64 : 96;
        fill(made, h("b", null, HERE), shown(cut, app.opened.item, side, HERE),
          all.length > most && h("small", { class: "quiet" }, `and ${all.length - most} columns more`)); // prettier-ignore
      } catch (error) {
        fill(made, h("span", { class: "warning" }, (error as Error).message));
      }
    } else fill(made, h("span", { class: "quiet" }, app.decoder ? `no decoding here: ${app.decoder.why}` : "the decoder is on its way"));
    if (now === null) return;
    fill(note, words);
    card.hidden = false;
    lay();
  });

  /** Beside the pointer, on the side where there is room. */
  const lay = () => {
    if (!now) return;
    const { width, height } = map.camera;
    const { offsetWidth: w, offsetHeight: t } = card;
    const x = now.px + 18 + w > width ? now.px - 18 - w : now.px + 18;
    const y = Math.min(Math.max(now.py - t / 2, 8), Math.max(height - t - 8, 8));
    card.style.transform = `translate(${Math.round(Math.max(x, 4))}px, ${Math.round(y)}px)`;
  };

  map.onpoint = (pointed) => {
    if (pointed && pressed && Math.hypot(pointed.px - pressed.px, pointed.py - pressed.py) < STILL) return;
    pressed = null;
    now = pointed;
    if (!pointed) card.hidden = true;
    else {
      if (!card.hidden) lay();
      follow(pointed);
    }
  };

  map.onpick = (pointed) => {
    pressed = pointed;
    now = null;
    card.hidden = true;
    if (pointed.item >= 0) {
      app.mark(app.marks.path, null);
      app.select(pointed.item);
      return;
    }
    const code = app.codeAt(pointed.x, pointed.y);
    if (!code) return;
    app.selected = -1;
    app.emit("selected");
    app.mark(app.marks.path, [pointed.x, pointed.y]);
    const python = `np.array(${pythonCode(code)}, dtype="float32")`;
    app.take(code, "a place on the map", python);
    app.python(`z = ${python}; model.decode(z[None])`);
    app.say(`a place between items${app.density?.off(code) ? ", off the map of the data" : ""}`);
  };
  return card;
}
