// One line to find by: a number, a name, a condition on columns, arithmetic of items, or what the model can search by.

import type { App } from "../app";
import type { MapView } from "../map/mapview";
import { valueOfText } from "../colour";
import { type Condition, conditions, looksLikeArithmetic } from "../expression";
import { button, fill, h } from "../dom";
import { itemButton } from "./item";

const LISTED = 24;

export function searchBox(app: App, map: MapView, compute: (text: string) => void): HTMLElement {
  const input = h("input", { type: "search", placeholder: "find 12, a name, error > 3, 1 − 2 + 3", "aria-label": "find items by number, name, condition or expression", spellcheck: "false", autocomplete: "off" });
  const results = h("div", { class: "results", role: "region", "aria-label": "results", hidden: true });

  const go = (index: number) => {
    app.select(index);
    map.reveal(app.points[2 * index]!, app.points[2 * index + 1]!);
  };

  const list = (items: number[], words: string, ...more: Node[]) => {
    fill(results, h("p", { class: "facts" }, words, " ", button("×", () => { results.hidden = true; }, { class: "link close", "aria-label": "close the results" })), more,
      h("div", { class: "items" }, items.slice(0, LISTED).map((i) => itemButton(app, i, app.thumbnails ? app.nameOf(i).slice(0, 10) : "")))); // prettier-ignore
    results.hidden = false;
  };

  const find = async () => {
    const text = input.value.trim();
    results.hidden = true;
    if (!text) return;
    const exact = app.names?.indexOf(text) ?? -1;
    if (exact >= 0) return go(exact);
    if (/^#?\d+$/.test(text)) {
      const index = Number(text.replace("#", ""));
      if (index < app.opened.n) return go(index);
    }
    const asked = conditions(text);
    if (asked) {
      const items = await matching(app, asked);
      app.choose(items);
      list(items, `${items.length} items where ${text}`);
      return;
    }
    if (looksLikeArithmetic(text)) return compute(text);
    const wanted = text.toLowerCase();
    const named: number[] = [];
    if (app.names) for (let i = 0; i < app.names.length; i++) if (app.names[i]!.toLowerCase().includes(wanted)) named.push(i);
    if (named.length) {
      list(named, `${named.length} names with “${text}”`, button("show only these", () => { app.text = text; void app.refilter(); })); // prettier-ignore
      return;
    }
    const found = await app.source.search(text);
    if (!found) throw new Error(`nothing is called “${text}”`);
    app.python(found.python);
    const items = found.indices ?? found.items?.map((one) => one.index) ?? [];
    app.choose(items);
    list(items, `${items.length} found`);
  };

  const form = h("form", { class: "search", role: "search", onsubmit: (event: Event) => {
    event.preventDefault();
    find().catch((error: Error) => {
      fill(results, h("p", { class: "warning", role: "alert" }, error.message));
      results.hidden = false;
    });
  } }, input, results); // prettier-ignore
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    results.hidden = true;
    map.element.focus();
  });
  return form;
}

async function matching(app: App, asked: Condition[]): Promise<number[]> {
  const tests: ((i: number) => boolean)[] = [];
  for (const { colour, op, value } of asked) {
    const wanted = colour.toLowerCase();
    const info = app.allColours.find((c) => c.name.toLowerCase() === wanted || c.title.toLowerCase() === wanted);
    if (!info) throw new Error(`there is no column “${colour}”; there are ${app.allColours.map((c) => c.title).join(", ")}`);
    const { values } = await app.values(info.name);
    if (info.kind === "category") {
      const level = info.levels?.indexOf(value) ?? -1;
      if (op !== "=" && op !== "!=") throw new Error(`${info.title} has kinds: use = or !=`);
      if (level < 0) throw new Error(`${info.title} is never “${value}”; it is ${info.levels?.slice(0, 12).join(", ")}`);
      tests.push((i) => (values[i] === level) === (op === "="));
      continue;
    }
    const number = valueOfText(info, value);
    if (Number.isNaN(number)) throw new Error(`${info.title} is ${info.format === "time" ? "a time as 14:30" : info.format ? "a date as 2024-05-31" : "a number"} and “${value}” is none`);
    const compare = { "<": (v: number) => v < number, "<=": (v: number) => v <= number, ">": (v: number) => v > number,
      ">=": (v: number) => v >= number, "=": (v: number) => v === number, "!=": (v: number) => v !== number }[op]; // prettier-ignore
    tests.push((i) => compare(values[i]!));
  }
  return Array.from({ length: app.opened.n }, (_, i) => i).filter((i) => tests.every((test) => test(i)));
}
