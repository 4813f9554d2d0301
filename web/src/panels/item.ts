// The item that is selected, or the code that is at hand: input, reconstruction, difference, code, neighbours.

import type { App } from "../app";
import type { ItemAnswer, View } from "../contract";
import { short, valueText } from "../colour";
import { button, fill, h } from "../dom";
import { saveCanvas, saveText, csv } from "../export";
import { beside, differencePicture, fitted, heat, heatOf, MOST_ROWS, numbers, rgbaOf, shown } from "../show";

const NEIGHBOURS = 12;

export function itemPanel(app: App): HTMLElement {
  const panel = h("div", { class: "panel item" });
  let run = 0;

  const show = async () => {
    const mine = ++run;
    const hand = app.hand;
    const index = app.selected;
    if (index < 0 && !hand) {
      fill(panel, h("p", { class: "hint" }, "Click a point to see the item, what the model keeps of it, and what lies near. ",
        "Click an empty place to see what the model would make there."),
        h("section", null, h("h3", null, "The model"), h("ul", { class: "summary" }, app.opened.model.summary.map((line) => h("li", null, line))))); // prettier-ignore
      return;
    }
    const code = index >= 0 ? app.codes?.of(index) ?? null : hand!.code;
    const decoded = code && app.decoder?.why === null ? app.decoder.decode(code.slice()) : null;
    decoded?.catch(() => {});
    const asked = index >= 0 ? app.source.item(index) : Promise.resolve(null);
    let trouble: string | null = null;
    const told = asked.catch((error: Error) => ((trouble = error.message), null));
    // Python may still be loading the model: meanwhile the page shows what it knows by itself
    const late = await Promise.race([told.then(() => false), new Promise<boolean>((resolve) => setTimeout(resolve, 200, true))]);
    if (mine !== run) return;
    if (late) await render(mine, index, code, decoded, null, "Python is asked …");
    const answer = await told;
    if (mine !== run) return;
    app.python(answer?.python);
    await render(mine, index, code, decoded, answer, trouble);
  };

  const render = async (mine: number, index: number, code: Float32Array | null, decoded: Promise<View> | null, answer: ItemAnswer | null, trouble: string | null) => {
    const made = answer?.reconstruction ?? (decoded ? await decoded.catch(() => null) : null);
    const input = answer?.input ?? (index >= 0 ? ((await thumbnail(app, index)) ?? (await fromColours(app, index))) : null);
    if (mine !== run) return;
    const title = index >= 0 ? app.titleOf(index) : (app.hand?.title ?? "");
    const facts: string[] = [];
    const by = app.colouring?.info.name; // error and density are told anyway
    if (index >= 0 && app.colouring && !(by === "error" && answer) && !(by === "density" && app.density)) facts.push(`${app.colouring.info.title} ${app.valueOf(index)}`);
    if (answer?.error !== null && answer?.error !== undefined) facts.push(`error ${short(answer.error)}`);
    if (code && app.density) facts.push(`log density ${short(app.density.log(code))}${app.density.off(code) ? ": off the map of the data" : ""}`);
    const figures = await figuresOf(app, input, made);
    if (mine !== run) return;
    fill(
      panel,
      h("header", { class: "title" }, h("h2", null, title), h("p", { class: "facts" }, facts.join(" · "))),
      trouble && h("p", { class: answer === null && trouble.endsWith("…") ? "quiet" : "warning" }, trouble),
      h("div", { class: input?.kind === "image" || made?.kind === "image" ? "figures" : "figures wide" }, figures),
      h("div", { class: "row" }, index >= 0 && ["A", "B", "C"].map((name, slot) =>
        button(`to ${name}`, () => app.put(slot, index), { title: `Put this item into slot ${name} (key ${name.toLowerCase()})` })),
        app.opened.item.kind === "image" && button("save PNG", () => void savePicture(app, title, input, made)),
        button("save CSV", () => saveNumbers(app, title, index, code, made)),
      ),
      answer?.contributions && contributions(app, answer),
      answer?.row && input?.kind !== "row" && h("section", null, h("h3", null, "Row"), shown({ kind: "row", cells: answer.row }, app.opened.item, 320, "row")),
      code && codeBars(app, code),
      code && neighbours(app, code, index),
    ); // prettier-ignore
  };

  app.on(["selected", "codes"], () => void show());
  app.on(["code"], () => {
    if (app.selected < 0) void show();
  });
  app.on("theme", () => void show());
  void show();
  return panel;
}

async function figuresOf(app: App, input: View | null, made: View | null): Promise<HTMLElement[]> {
  const item = app.opened.item;
  const figure = (view: View | null, words: string) =>
    view && h("figure", null, shown(view, item, view.kind === "image" ? 112 : 340, words), h("figcaption", null, words));
  const named = item.kind === "table" || (item.kind === "vector" && item.names !== null && item.size <= MOST_ROWS);
  if (named && input && made) return [beside([["input", input], ["reconstruction", made]], item, "input and reconstruction")];
  const list = [figure(input, "input"), figure(made, input ? "reconstruction" : "the model makes")];
  if (input && made && item.kind === "image") {
    const [a, b] = [await rgbaOf(input, item), await rgbaOf(made, item)];
    if (a && b) list.push(h("figure", null, differencePicture(a, b, item, 112), h("figcaption", null, "difference")));
  }
  if (input?.kind === "numbers" && made?.kind === "numbers") {
    const apart: View = { kind: "numbers", values: Array.from(made.values, (v, i) => v - input.values[i]!) };
    list.push(figure(apart, "difference"));
  }
  return list.filter((one): one is HTMLElement => !!one);
}

/** The input of an item where there is no server to ask: its small picture. */
async function thumbnail(app: App, index: number): Promise<View | null> {
  const info = app.thumbnails?.info;
  const item = app.opened.item;
  if (!app.thumbnails || !info || item.kind !== "image") return null;
  const canvas = h("canvas", { width: item.width, height: item.height });
  const to = canvas.getContext("2d", { willReadFrequently: true })!;
  if (!(await app.thumbnails.drawn(to, index, item.width, item.height))) return null;
  const data = to.getImageData(0, 0, item.width, item.height).data;
  const pixels = new Uint16Array(item.width * item.height * item.channels);
  for (let i = 0; i < item.width * item.height; i++) {
    for (let c = 0; c < item.channels; c++) pixels[i * item.channels + c] = Math.round((data[4 * i + c]! * item.levels) / 255);
  }
  return { kind: "image", pixels };
}

/** The input of a row where there is no server to ask: its columns are colours of the map. */
async function fromColours(app: App, index: number): Promise<View | null> {
  const item = app.opened.item;
  if (item.kind !== "table" && item.kind !== "vector") return null;
  const columns = app.opened.colours.filter((c) => c.name.startsWith("column-"));
  if (!columns.length) return null;
  const cells = new Map<string, string>();
  const numbers: number[] = [];
  for (const column of columns) {
    const c = await app.values(column.name);
    const v = c.values[index]!;
    numbers.push(v);
    const text = column.format ? valueText(c, v) : String(Number(v.toPrecision(6)));
    cells.set(column.title, column.kind === "category" ? (column.levels?.[v] ?? "") : Number.isNaN(v) ? "" : text);
  }
  if (item.kind === "vector") return numbers.length === item.size ? { kind: "numbers", values: numbers } : null;
  if (item.key && app.names) cells.set(item.key, app.names[index] ?? "");
  const names = item.columns.map((column) => column.name);
  return {
    kind: "row",
    cells: names.filter((name) => cells.has(name)).map((name) => [name, cells.get(name)!]),
    unknown: names.filter((name) => !cells.has(name)),
  };
}

function codeBars(app: App, code: Float32Array): HTMLElement {
  const names = [...app.opened.latents].sort((a, b) => a.index - b.index).map((l) => l.title);
  return h("section", null, h("h3", null, "Code ", h("small", null, `${code.length} latents`)), numbers(code, code.length <= 10 ? names : null, 340, "code", code.length <= 10 ? 10 : 0));
}

export function pictureOf(app: App, index: number, side = 44): HTMLElement {
  const info = app.thumbnails?.info;
  if (!app.thumbnails || !info) return h("span", { class: "named" }, app.nameOf(index));
  const [width, height] = fitted(info, side);
  const canvas = h("canvas", { class: "picture", width: info.width, height: info.height, style: { width: `${width}px`, height: `${height}px` }, "aria-hidden": "true" });
  void app.thumbnails.drawn(canvas.getContext("2d")!, index, info.width, info.height);
  return canvas;
}

/** A small button that stands for an item: goes there when pressed, can be dragged into a slot. */
export function itemButton(app: App, index: number, words: string, side = 44): HTMLElement {
  return h("button", {
    type: "button", class: "small-item", draggable: "true", title: `${app.titleOf(index)} ${words}`,
    "aria-label": `${app.titleOf(index)} ${words}`,
    onclick: () => app.select(index),
    ondragstart: (event: DragEvent) => event.dataTransfer?.setData("text/x-isthmus-item", String(index)),
  }, pictureOf(app, index, side), words !== "" && h("small", null, words)); // prettier-ignore
}

function neighbours(app: App, code: Float32Array, index: number): HTMLElement {
  const near = app.codes!.nearest(code, NEIGHBOURS, index);
  return h("section", null, h("h3", null, "Nearest by code"),
    h("div", { class: "items" }, near.map((one) => itemButton(app, one.index, short(one.distance))))); // prettier-ignore
}

function contributions(app: App, answer: ItemAnswer): HTMLElement {
  const told = answer.contributions!;
  const head = h("h3", null, "Where the anomaly lies");
  if (told.kind === "image" && app.opened.item.kind === "image") {
    const most = Math.max(...told.values.map(Math.abs), 1e-12);
    return h("section", null, head, heat(told.values.map((v) => v / most), app.opened.item, 112, "contributions to the anomaly", heatOf));
  }
  if (told.kind !== "columns") return h("section");
  const order = told.values.map((v, i) => [v, i] as const).sort((a, b) => b[0] - a[0]).slice(0, 10);
  return h("section", null, head, numbers(order.map(([v]) => v), order.map(([, i]) => told.names[i] ?? String(i)), 340, "contributions")); // prettier-ignore
}

async function savePicture(app: App, title: string, input: View | null, made: View | null): Promise<void> {
  const item = app.opened.item;
  if (item.kind !== "image") return;
  const views = [input, made].filter((v): v is View => !!v);
  const zoom = Math.max(1, Math.floor(256 / Math.max(item.width, item.height)));
  const canvas = h("canvas", { width: views.length * item.width * zoom, height: item.height * zoom });
  const to = canvas.getContext("2d")!;
  to.imageSmoothingEnabled = false;
  for (const [i, view] of views.entries()) {
    const rgba = (await rgbaOf(view, item))!;
    const one = h("canvas", { width: item.width, height: item.height });
    const data = one.getContext("2d")!.createImageData(item.width, item.height);
    data.data.set(rgba);
    one.getContext("2d")!.putImageData(data, 0, 0);
    to.drawImage(one, i * item.width * zoom, 0, item.width * zoom, item.height * zoom);
  }
  await saveCanvas(`${title}.png`, canvas);
}

function saveNumbers(app: App, title: string, index: number, code: Float32Array | null, made: View | null): void {
  const rows: (string | number)[][] = [];
  if (index >= 0) rows.push(["item", index], ["name", app.nameOf(index)]);
  code?.forEach((v, k) => rows.push([`latent ${k}`, v]));
  if (made?.kind === "row") rows.push(...made.cells);
  if (made?.kind === "numbers") Array.from(made.values).forEach((v, i) => rows.push([`made ${i}`, v]));
  saveText(`${title}.csv`, csv(["what", "value"], rows));
}
