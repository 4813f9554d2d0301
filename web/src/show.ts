// One item for the eye, whatever it is: a picture, bars, lines, or rows of name and value.

import type { Item, View } from "./contract";
import { difference, KINDS, short, type Rgb } from "./colour";
import { dark, h, sharp, token } from "./dom";

export const MOST_ROWS = 40; // numbers that have a row each; more are one strip
const ISO = /^\d{4}-\d\d-\d\d/;

/** A figure of a View, `width` CSS pixels wide. */
export function shown(view: View, item: Item, width: number, name: string): HTMLElement {
  if (view.kind === "image") return picture(view, item, width, name);
  if (view.kind === "row") return rows(view, item, name);
  if (item.kind === "series") return series(view.values, item, width, name);
  return numbers(view.values, item.kind === "vector" ? item.names : null, width, name);
}

/** Width and height of a picture of an item in a box: whole multiples of its pixels where that fits well. */
export function fitted(item: { height: number; width: number }, room: number): [number, number] {
  const scale = room / Math.max(item.width, item.height);
  const exact = scale >= 3 ? Math.floor(scale) : scale;
  return [Math.round(item.width * exact), Math.round(item.height * exact)];
}

function picture(view: Extract<View, { kind: "image" }>, item: Item, room: number, name: string): HTMLElement {
  const shape = item.kind === "image" ? item : { height: 1, width: 1, channels: 1, levels: 255 };
  const [width, height] = fitted(shape, room);
  const style = { width: `${width}px`, height: `${height}px` };
  if (typeof view.pixels === "string") {
    return h("img", { class: "picture", src: `data:image/png;base64,${view.pixels}`, alt: name, style });
  }
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": name, style, width: shape.width, height: shape.height });
  paint(canvas, view.pixels, shape.channels, shape.levels);
  return canvas;
}

/** Pixels (h, w, c) of 0..levels onto a canvas that has as many. */
export function paint(canvas: HTMLCanvasElement, pixels: ArrayLike<number>, channels: number, levels: number): void {
  const to = canvas.getContext("2d")!;
  const data = to.createImageData(canvas.width, canvas.height);
  const scale = 255 / levels;
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = pixels[i * channels + (channels < 3 ? 0 : c)]! * scale;
    data.data[4 * i + 3] = channels === 4 ? pixels[4 * i + 3]! * scale : 255;
  }
  to.putImageData(data, 0, 0);
}

/** The pixels 0..255 (h, w, 4) of a View that is a picture. */
export async function rgbaOf(view: View, item: Item): Promise<Uint8ClampedArray | null> {
  if (view.kind !== "image" || item.kind !== "image") return null;
  const canvas = h("canvas", { width: item.width, height: item.height });
  if (typeof view.pixels === "string") {
    const image = new Image();
    image.src = `data:image/png;base64,${view.pixels}`;
    await image.decode();
    canvas.getContext("2d")!.drawImage(image, 0, 0, item.width, item.height);
  } else paint(canvas, view.pixels, item.channels, item.levels);
  return canvas.getContext("2d")!.getImageData(0, 0, item.width, item.height).data;
}

/** Reconstruction minus input: vermilion where more was made, blue where less. */
export function differencePicture(input: Uint8ClampedArray, made: Uint8ClampedArray, item: Item, room: number): HTMLElement {
  const shape = item as Extract<Item, { kind: "image" }>;
  return heat(
    Array.from({ length: shape.width * shape.height }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < 3; c++) sum += made[4 * i + c]! - input[4 * i + c]!;
      return sum / 3 / 255;
    }),
    shape,
    room,
    "difference: reconstruction minus input",
  );
}

/** Signed values -1..1 of the pixels of an image. */
export function heat(values: ArrayLike<number>, shape: { width: number; height: number }, room: number, name: string, from?: (v: number) => Rgb): HTMLElement {
  const [width, height] = fitted(shape, room);
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": name, width: shape.width, height: shape.height,
    style: { width: `${width}px`, height: `${height}px` } }); // prettier-ignore
  const night = dark();
  const to = canvas.getContext("2d")!;
  const data = to.createImageData(shape.width, shape.height);
  for (let i = 0; i < shape.width * shape.height; i++) {
    const colour = from ? from(values[i]!) : difference(values[i]!, night);
    data.data.set([...colour, 255], 4 * i);
  }
  to.putImageData(data, 0, 0);
  return canvas;
}

/** Values as bars from a zero line: named rows where there are names for a few, one strip where there are many. */
export function numbers(values: ArrayLike<number>, names: string[] | null, width: number, name: string, rowsUpTo = MOST_ROWS): HTMLElement {
  const list = Array.from(values);
  const most = Math.max(...list.map(Math.abs), 1e-12);
  if (list.length <= rowsUpTo && width > 100) {
    const low = Math.min(0, ...list);
    const high = Math.max(0, ...list);
    const wide = high - low || 1;
    // columns of very different size are of different units: bars beside each other would compare what cannot be
    const sizes = list.map(Math.abs).sort((a, b) => a - b);
    const alike = !names || most < 20 * sizes[sizes.length >> 1]! || list.length < 4;
    return h(
      "div",
      { class: "numbers", role: "img", "aria-label": `${name}: ${list.map((v, i) => `${names?.[i] ?? i} ${short(v)}`).slice(0, 12).join(", ")}` },
      list.map((v, i) =>
        h("div", { class: "number" },
          h("span", { class: "name", title: names?.[i] ?? String(i) }, names?.[i] ?? i),
          h("span", { class: "bar" }, alike && h("i", { style: { left: `${(100 * (Math.min(v, 0) - low)) / wide}%`, width: `${(100 * Math.abs(v)) / wide}%` } })),
          h("span", { class: "value" }, short(v)),
        ), // prettier-ignore
      ),
    );
  }
  const height = Math.max(28, Math.round(width / 5));
  const canvas = h("canvas", { class: "plot", role: "img", "aria-label": name, style: { width: `${width}px`, height: `${height}px` } });
  const to = sharp(canvas, width, height);
  const negative = list.some((v) => v < 0);
  const zero = negative ? height / 2 : height - 1;
  to.fillStyle = token("--accent");
  list.forEach((v, i) => {
    const x = (i * width) / list.length;
    const tall = (v / most) * (negative ? height / 2 - 1 : height - 2);
    to.fillRect(x, zero - Math.max(tall, 0), Math.max(width / list.length - 0.5, 0.5), Math.abs(tall));
  });
  to.fillStyle = token("--line");
  to.fillRect(0, zero, width, 1);
  return canvas;
}

/** Channels of a series as lines over each other, with one range for all. */
function series(values: ArrayLike<number>, item: Extract<Item, { kind: "series" }>, width: number, name: string): HTMLElement {
  const height = Math.max(36, Math.round(width * 0.4));
  const canvas = h("canvas", { class: "plot", role: "img", "aria-label": name, style: { width: `${width}px`, height: `${height}px` } });
  const to = sharp(canvas, width, height);
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  const y = (v: number) => height - 3 - ((v - low) / (high - low || 1)) * (height - 6);
  to.lineWidth = 1.4;
  to.lineJoin = "round";
  for (let c = 0; c < item.channels; c++) {
    to.strokeStyle = item.channels === 1 ? token("--accent") : KINDS[c % KINDS.length]!;
    to.beginPath();
    for (let t = 0; t < item.length; t++) {
      const x = 1 + (t / Math.max(item.length - 1, 1)) * (width - 2);
      const v = y(values[c * item.length + t]!);
      if (t) to.lineTo(x, v);
      else to.moveTo(x, v);
    }
    to.stroke();
  }
  return h("figure", { class: "series" }, canvas, width > 100 && h("figcaption", null, `${short(low)} to ${short(high)}`));
}

/** The columns of items beside each other, one item a column of the table: at most three. */
export function beside(views: [string, View][], item: Item, name: string): HTMLElement {
  const cells = views.map(([, view]) => new Map(view.kind === "row" ? view.cells : pairs(view, item)));
  const columns = item.kind === "table" ? item.columns : pairs(views[0]![1], item).map(([column]) => ({ name: column, kind: "number" }));
  const [first, second] = cells;
  const unknown = new Set(views.flatMap(([, view]) => (view.kind === "row" ? view.unknown ?? [] : [])));
  const text = (k: number, column: { name: string; kind: string }) => {
    const value = cells[k]!.get(column.name) ?? "";
    if (value !== "") return value;
    if (k === 0) return unknown.has(column.name) ? h("span", { class: "quiet" }, "not in this page") : "";
    return column.kind === "left out" ? h("span", { class: "quiet" }, "left out") : "";
  };
  return h("div", { class: "rows beside" }, h("table", { "aria-label": name },
    h("thead", null, h("tr", null, h("td"), views.map(([words]) => h("th", { scope: "col" }, words)))),
    h("tbody", null, columns.map((column) =>
      h("tr", { class: item.kind === "table" && column.kind !== "left out" && differ(first?.get(column.name), second?.get(column.name)) ? "differs" : null },
        h("th", { scope: "row", title: column.name }, column.name), views.map((_, k) => h("td", null, text(k, column)))))))); // prettier-ignore
}

/** Numbers with their names. */
function pairs(view: View, item: Item): [string, string][] {
  const names = item.kind === "vector" ? item.names : null;
  return view.kind === "numbers" ? Array.from(view.values, (v, i) => [names?.[i] ?? String(i), short(v)]) : [];
}

const differ = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && a !== b && !(ISO.test(a) && b.startsWith(a)); // a day against a moment of it

/** Columns and values; what the model leaves out, and so has no value for, is named below. */
function rows(view: Extract<View, { kind: "row" }>, item: Item, name: string): HTMLElement {
  const out = new Set(item.kind === "table" ? item.columns.filter((c) => c.kind === "left out").map((c) => c.name) : []);
  const left = view.cells.filter(([column, value]) => out.has(column) && !value).map(([column]) => column);
  return h("div", { class: "rows" },
    h("table", { "aria-label": name }, h("tbody", null, view.cells.filter(([column]) => !left.includes(column)).map(([column, value]) =>
      h("tr", null, h("th", { scope: "row", title: column }, column), h("td", null, value))))),
    left.length > 0 && h("p", { class: "quiet" }, `left out by the model: ${left.join(", ")}`)); // prettier-ignore
}

/** The colour of a share 0..1 of the largest, for heat without sign. */
export const heatOf = (v: number): Rgb => difference(v, dark());
