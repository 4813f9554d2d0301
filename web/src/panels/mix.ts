// Arithmetic of items, A − B + C and any sum one types; and the path from A to C… as a film.

import type { App } from "../app";
import type { View } from "../contract";
import { combine, line } from "../codes";
import { parse, type Sum, type Term } from "../expression";
import { button, fill, h } from "../dom";
import { saveCanvas } from "../export";
import { fitted, rgbaOf, shown } from "../show";
import { itemButton, pictureOf } from "./item";

const STEPS = 24;

/** The code that a sum of items means, and how Python writes it. Throws with words for the reader. */
export async function valueOf(app: App, sum: Sum): Promise<{ code: Float32Array; python: string }> {
  if (!app.codes) throw new Error("the codes are still on their way");
  const terms: [number, ArrayLike<number>][] = [];
  const words: string[] = [];
  for (const { weight, term } of sum) {
    const { code, python } = await codeOf(app, term);
    terms.push([weight, code]);
    const size = Math.abs(weight);
    const text = size === 1 ? python : `${Number(size.toPrecision(6))} * ${python}`;
    words.push(words.length ? `${weight < 0 ? "-" : "+"} ${text}` : weight < 0 ? `-${text}` : text);
  }
  return { code: combine(terms, app.codes.size), python: words.join(" ") };
}

async function codeOf(app: App, term: Term): Promise<{ code: Float32Array; python: string }> {
  const codes = app.codes!;
  if (term.kind === "item") {
    if (term.index >= codes.n) throw new Error(`there is no item ${term.index}: they go from 0 to ${codes.n - 1}`);
    return { code: codes.of(term.index), python: `Z[${term.index}]` };
  }
  if (term.kind === "name") {
    const index = app.names?.indexOf(term.name) ?? -1;
    if (index < 0) throw new Error(`no item is called “${term.name}”`);
    return { code: codes.of(index), python: `Z[${index}]` };
  }
  const info = app.allColours.find((c) => c.name === term.colour || c.title === term.colour);
  const level = info?.levels?.indexOf(term.level) ?? -1;
  if (!info || info.kind !== "category") throw new Error(`“${term.colour}” is no column of kinds`);
  if (level < 0) throw new Error(`${term.colour} is never “${term.level}”: it is ${info.levels!.slice(0, 8).join(", ")}`);
  const { values } = await app.values(info.name);
  const items: number[] = [];
  for (let i = 0; i < codes.n; i++) if (values[i] === level) items.push(i);
  return { code: codes.mean(items), python: `Z[${app.variable(info.name)} == ${JSON.stringify(term.level)}].mean(0)` };
}

export type Mix = HTMLElement & { expression(text: string): void };

export function mixPanel(app: App): Mix {
  const slots = h("div", { class: "slots" });
  const result = h("div", { class: "result" });
  const typed = h("input", { type: "text", class: "expression", placeholder: "12 − 40 + 7 or mean(label = 3) − 5", "aria-label": "a sum of items", spellcheck: "false" });

  const compute = async (text: string) => {
    try {
      const { code, python } = await valueOf(app, parse(text));
      app.selected = -1;
      app.emit("selected");
      app.take(code, text, `(${python})`);
      app.mark([], app.placeOf(code));
      app.python(`z = ${python}; model.decode(z[None])`);
      const view = app.decoder?.why === null ? await app.decoder.decode(code.slice()) : null;
      const near = app.codes!.nearest(code, 8);
      fill(
        result,
        h("div", { class: "figures" },
          view && h("figure", null, shown(view, app.opened.item, view.kind === "image" ? 140 : 340, `what ${text} makes`),
            h("figcaption", null, text, app.density?.off(code) && h("span", { class: "warning" }, " off the map of the data")))),
        h("h3", null, "Nearest items"),
        h("div", { class: "items" }, near.map((one) => itemButton(app, one.index, app.valueOf(one.index)))),
      ); // prettier-ignore
      app.say(`${text}: nearest are ${near.slice(0, 3).map((one) => app.titleOf(one.index)).join(", ")}`);
    } catch (error) {
      fill(result, h("p", { class: "warning", role: "alert" }, (error as Error).message));
    }
  };

  const fillSlots = () => {
    fill(
      slots,
      app.slots.flatMap((index, slot) => [
        slot > 0 && h("span", { class: "sign", "aria-hidden": "true" }, slot === 1 ? "−" : "+"),
        h("button", {
          type: "button", class: index === null ? "slot empty" : "slot", "data-slot": slot, title: `${"ABC"[slot]}: press to put the selected item here, or drop an item`,
          "aria-label": `Slot ${"ABC"[slot]}: ${index === null ? "empty" : app.titleOf(index)}. Press to put the selected item here.`,
          onclick: () => app.selected >= 0 ? app.put(slot, app.selected) : app.say("select an item first"),
          ondragover: (event: DragEvent) => event.preventDefault(),
          ondrop: (event: DragEvent) => {
            event.preventDefault();
            const given = event.dataTransfer?.getData("text/x-isthmus-item");
            if (given) app.put(slot, Number(given));
          },
        }, h("b", null, "ABC"[slot]!), index === null ? h("span", { class: "quiet" }, "empty") : pictureOf(app, index, 56), index !== null && app.thumbnails && h("small", null, app.nameOf(index).slice(0, 12))),
      ]),
    ); // prettier-ignore
    const [a, b, c] = app.slots;
    if (a !== null && b !== null && c !== null && a !== undefined) {
      typed.value = `#${a} − #${b} + #${c}`;
      void compute(typed.value);
    }
  };

  app.on(["slots", "theme"], fillSlots);
  fillSlots();
  const expression = (text: string) => {
    typed.value = text;
    void compute(text);
  };
  const panel = h(
    "div",
    { class: "panel mix" },
    h("header", { class: "title" }, h("h2", null, "A − B + C"), h("p", { class: "facts" }, "Drag items here, or select one and press a, b or c.")),
    slots,
    h("form", { class: "row", onsubmit: (event: Event) => { event.preventDefault(); void compute(typed.value); } }, typed, h("button", { type: "submit" }, "compute")),
    result,
    film(app),
  ); // prettier-ignore
  return Object.assign(panel, { expression });
}

/** The straight line between the codes of two items, decoded step by step. */
function film(app: App): HTMLElement {
  const screen = h("div", { class: "figures" });
  const caption = h("span", { class: "quiet" });
  let views: View[] = [];
  let playing = 0;
  const slider = h("input", { type: "range", min: 0, max: STEPS - 1, step: 1, value: "0", "aria-label": "step of the path", oninput: () => { stop(); show(Number(slider.value)); } }); // prettier-ignore
  const play = button("play", () => (playing ? stop() : start()));
  const controls = h("div", { class: "row film", hidden: true }, play, slider, caption, button("save PNG", () => void save()));
  let ends: [number, number] = [0, 0];
  let codes: Float32Array[] = [];
  let places: [number, number][] = [];

  const show = (step: number) => {
    const view = views[step];
    if (!view) return;
    slider.value = String(step);
    fill(screen, h("figure", null, shown(view, app.opened.item, view.kind === "image" ? 168 : 340, `step ${step + 1} of ${STEPS}`)));
    fill(caption, `${step + 1} of ${STEPS}`, app.density?.off(codes[step]!) ? h("span", { class: "warning" }, " off the map") : "");
    if (places[step]) app.mark(places, places[step]!);
  };
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    play.textContent = "play";
  };
  const start = () => {
    play.textContent = "pause";
    let step = Number(slider.value);
    let way = step >= STEPS - 1 ? -1 : 1;
    playing = window.setInterval(() => {
      if (step + way < 0 || step + way >= STEPS) way = -way; // there and back
      show((step += way));
    }, 90);
  };
  const make = async (a: number, b: number) => {
    if (!app.codes || app.decoder?.why !== null) {
      app.say(app.decoder?.why ?? "the decoder is on its way");
      return;
    }
    stop();
    ends = [a, b];
    codes = line(app.codes.of(a), app.codes.of(b), STEPS);
    app.python(`model.decode(np.linspace(Z[${a}], Z[${b}], ${STEPS}))`);
    views = await Promise.all(codes.map((code) => app.decoder!.decode(code.slice())));
    places = codes.map((code) => app.placeOf(code)!);
    places[0] = [app.points[2 * a]!, app.points[2 * a + 1]!];
    places[STEPS - 1] = [app.points[2 * b]!, app.points[2 * b + 1]!];
    controls.hidden = false;
    show(0);
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) start();
  };
  const save = async () => {
    const item = app.opened.item;
    if (item.kind !== "image") return;
    const [width, height] = fitted(item, 96);
    const canvas = h("canvas", { width: width * STEPS, height });
    const to = canvas.getContext("2d")!;
    to.imageSmoothingEnabled = false;
    for (const [i, view] of views.entries()) {
      const one = h("canvas", { width: item.width, height: item.height });
      const data = one.getContext("2d")!.createImageData(item.width, item.height);
      data.data.set((await rgbaOf(view, item))!);
      one.getContext("2d")!.putImageData(data, 0, 0);
      to.drawImage(one, i * width, 0, width, height);
    }
    await saveCanvas(`path ${ends[0]} to ${ends[1]}.png`, canvas);
  };
  app.on("selected", () => {
    if (!app.hand && app.selected < 0) stop(); // all was let go
  });
  const between = (a: number | null | undefined, b: number | null | undefined) =>
    a === null || b === null || a === undefined || b === undefined ? app.say("put two items into A and B first") : void make(a, b);
  return h("section", { class: "path" }, h("h2", null, "Path"),
    h("p", { class: "facts" }, "The straight line between the codes of two items, decoded."),
    h("div", { class: "row" }, button("from A to B", () => between(app.slots[0], app.slots[1])),
      button("from A to the selected item", () => between(app.slots[0], app.selected >= 0 ? app.selected : null))),
    screen, controls); // prettier-ignore
}
