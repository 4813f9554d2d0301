// What the colours mean, and at the same time what is shown: press a kind or move the ends of a range to filter.

import type { App, Filter } from "../app";
import { css, kindColour, kindShape, sequential, SHAPES, valueText } from "../colour";
import { button, dark, fill, h, quiet } from "../dom";

const MANY = 30;

export function legend(app: App): HTMLElement {
  const box = h("section", { class: "legend", "aria-label": "legend and filter" });

  const show = () => {
    const c = app.colouring;
    const chips = [...app.filters.keys()].filter((name) => name !== c?.info.name);
    const shown = app.shown.reduce((sum, v) => sum + v, 0);
    const filtered = app.filters.size > 0 || app.text !== "";
    fill(
      box,
      c && h("h3", null, c.info.title, c.info.unit && !c.info.format && h("small", null, ` ${c.info.unit}`)),
      c && (c.info.kind === "category" ? kinds(app) : range(app)),
      chips.map((name) => button(`${app.allColours.find((one) => one.name === name)?.title ?? name} filtered ×`, () => void app.filter(name, null), { class: "chip" })),
      app.text !== "" && button(`“${app.text}” ×`, () => { app.text = ""; void app.refilter(); }, { class: "chip" }),
      filtered && h("p", { class: "quiet" }, `${shown} of ${app.opened.n} shown `, button("show all", () => { app.filters.clear(); app.text = ""; void app.refilter(); }, { class: "link" })),
    ); // prettier-ignore
    box.hidden = !box.childElementCount;
  };
  app.on(["colour", "filter", "theme"], show);
  return box;
}

function kinds(app: App): HTMLElement {
  const { info, values } = app.colouring!;
  const levels = info.levels ?? [];
  const counts = new Array<number>(levels.length).fill(0);
  for (let i = 0; i < values.length; i++) if (values[i]! < levels.length) counts[values[i]!]!++;
  const filter = app.filters.get(info.name);
  const on = filter && "levels" in filter ? filter.levels : null;
  const press = (level: number, event: MouseEvent) => {
    const now = new Set(on ?? levels.keys());
    if (event.shiftKey || !on) {
      // the first press shows this kind alone; with shift, all but it
      if (event.shiftKey) now.has(level) ? now.delete(level) : now.add(level);
      else {
        now.clear();
        now.add(level);
      }
    } else now.has(level) ? now.delete(level) : now.add(level);
    void app.filter(info.name, now.size === 0 || now.size === levels.length ? null : { levels: now });
  };
  return h("div", { class: "kinds", role: "group", "aria-label": `${info.title}: press to filter` },
    levels.slice(0, MANY).map((level, l) =>
      h("button", { type: "button", class: "kind", "aria-pressed": String(!on || on.has(l)), title: `${counts[l]} items. Press: only this; again: more or fewer; with shift: all but this`, onclick: (event: MouseEvent) => press(l, event) },
        h("i", { class: `dot ${SHAPES[kindShape(l)]}`, style: { "--dot": kindColour(l, dark()) } }), h("span", null, level || "(empty)"))),
    levels.length > MANY && h("span", { class: "quiet" }, `and ${levels.length - MANY} more`)); // prettier-ignore
}

function range(app: App): HTMLElement {
  const c = app.colouring!;
  const filter = app.filters.get(c.info.name);
  const [from, to] = filter && "low" in filter ? [filter.low, filter.high] : [c.least, c.most];
  const night = dark();
  const ramp = h("div", { class: "ramp", "aria-hidden": "true" },
    Array.from({ length: 32 }, (_, i) => h("i", { style: { background: css(sequential(i / 31, night)) } }))); // prettier-ignore
  const told = h("span", { class: "quiet" });
  const slider = (value: number, words: string) => {
    const input = h("input", { type: "range", min: 0, max: 1, step: 0.005, "aria-label": `${words} ${c.info.title}`, oninput: () => moved() });
    input.value = String(place(value));
    return input;
  };
  // Thumbs move over the colours' range; at either end they let everything beyond through.
  const place = (v: number) => (v <= c.least ? 0 : v >= c.most ? 1 : Math.min(Math.max((v - c.low) / (c.high - c.low), 0.005), 0.995));
  const value = (t: number) => (t <= 0 ? c.least : t >= 1 ? c.most : c.low + t * (c.high - c.low));
  const apply = quiet(120, () => {
    const [a, b] = ends();
    const whole = a <= c.least && b >= c.most;
    const now: Filter | null = whole ? null : { low: a, high: b };
    void app.filter(c.info.name, now);
  });
  const ends = (): [number, number] => {
    const [a, b] = [Number(low.value), Number(high.value)];
    return [value(Math.min(a, b)), value(Math.max(a, b))];
  };
  const moved = () => {
    const [a, b] = ends();
    fill(told, `${valueText(c, a)} to ${valueText(c, b)}`);
    apply();
  };
  const low = slider(from, "least");
  const high = slider(to, "most");
  return h("div", { class: "range" }, ramp,
    h("div", { class: "ends" }, h("span", null, valueText(c, c.low)), h("span", null, valueText(c, c.high))),
    h("div", { class: "thumbs" }, low, high), filter ? h("span", { class: "quiet" }, `${valueText(c, from)} to ${valueText(c, to)}`) : told); // prettier-ignore
}
