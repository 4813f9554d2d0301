// What the page knows and what was done with it. Panels listen; nobody else holds state that two of them need.

import type { ColourInfo, LabelAnswer, MapInfo, Opened, Saved } from "./contract";
import type { Decoder } from "./decoder/decoder";
import type { Source } from "./source";
import { float32s, uint16s } from "./bytes";
import { Codes, codeOfPlace, placeOfCode } from "./codes";
import { css, kindRgb, kindShape, MISSING_RGB, PLAIN, RAMPS, span, valueText, type Rgb } from "./colour";
import { Density } from "./density";
import { Grid } from "./map/grid";
import { Thumbnails } from "./thumbnails";

export type Event =
  | "map" | "colour" | "filter" | "selected" | "chosen" | "code" | "codes" | "labels" | "spread" | "python" | "slots"
  | "marks" | "theme" | "say"; // prettier-ignore

export interface Colouring {
  info: ColourInfo;
  values: Uint16Array | Float32Array;
  low: number;
  high: number;
  least: number;
  most: number;
}

/** What of one colour is shown: some levels, or a range. */
export type Filter = { levels: Set<number> } | { low: number; high: number };

/** A code that is looked at: where it came from, and how Python would write it. */
export interface AtHand {
  code: Float32Array;
  title: string;
  python: string;
  /** the item it is, or that it began as */
  item: number | null;
}

export const YOURS = "your labels";
const EMPTY = "y = np.full(len(X), None, dtype=object)  # labels, where there are any";

export class App {
  readonly thumbnails: Thumbnails | null;
  decoder: Decoder | null = null;
  codes: Codes | null = null;
  density: Density | null = null;
  names: string[] | null = null;
  mapInfo: MapInfo | null = null;
  points: Float32Array = new Float32Array(0);
  grid = new Grid(this.points);
  colouring: Colouring | null = null;
  readonly filters = new Map<string, Filter>();
  text = "";
  shown: Uint8Array;
  selected = -1;
  chosen: number[] = [];
  hand: AtHand | null = null;
  readonly slots: (number | null)[] = [null, null, null];
  /** what panels draw on the map: a path in map coordinates, and single places */
  marks: { path: [number, number][]; at: [number, number] | null } = { path: [], at: null };
  readonly labels = new Map<number, string>();
  spread: LabelAnswer | null = null;
  readonly log: string[] = [];
  private readonly definitions = new Set<string>();
  said = "";
  private readonly colours = new Map<string, Promise<Colouring>>();
  private readonly listeners = new Map<Event, (() => void)[]>();

  constructor(
    readonly opened: Opened,
    readonly source: Source,
  ) {
    this.shown = new Uint8Array(opened.n).fill(1);
    this.thumbnails = opened.thumbnails && new Thumbnails(opened.thumbnails, source);
  }

  on(events: Event | Event[], listener: () => void): void {
    for (const event of [events].flat()) this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
  }

  emit(event: Event): void {
    for (const listener of this.listeners.get(event) ?? []) listener();
  }

  /** A line for those who listen to the page rather than look at it, and a short note for those who look. */
  say(text: string): void {
    this.said = text;
    this.emit("say");
  }

  python(line: string | null | undefined): void {
    if (!line || this.log.at(-1) === line) return;
    this.log.push(line);
    this.emit("python");
  }

  /** A line that later lines lean on: it stays where the others are cleared away. */
  private define(line: string): void {
    this.definitions.add(line);
    this.python(line);
  }

  /** The variable of a colour, and above it the line that makes it. */
  variable(name: string): string {
    const line = this.opened.colours.find((c) => c.name === name)?.python;
    if (name === YOURS) this.defineSpread(null);
    else if (line && !this.log.includes(line)) this.define(line);
    return pythonName(name);
  }

  /** The map that is shown, as `places`. */
  private definePlaces(): void {
    const line = this.mapInfo?.python;
    if (line && this.log.filter((one) => one.startsWith("places = ")).at(-1) !== line) this.define(line);
  }

  /** All labels as `y`, where it is not there yet. Whether it had to be made. */
  private defineLabels(): boolean {
    if (this.log.includes(EMPTY)) return false;
    this.define(EMPTY);
    const kinds = new Map<string, number[]>();
    for (const [i, name] of this.labels) kinds.set(name, [...(kinds.get(name) ?? []), i]);
    for (const [name, items] of kinds) this.define(`y[${pythonList(items)}] = ${JSON.stringify(name)}`);
    return true;
  }

  /** What has spread as `found`: a new line, or without one the last that there was. */
  defineSpread(line: string | null): void {
    if (line === null && this.log.some((one) => one.startsWith("found = "))) return;
    this.defineLabels();
    this.define(line ?? "found = im.label(model, X, y)");
  }

  /** Items of X at `places`, an expression that is a list or an array of numbers. */
  items(places: string): string {
    const rows = this.opened.python.rows ?? "array";
    return rows === "list" ? `[X[i] for i in ${places}]` : rows === "frame" ? `X.iloc[${places}]` : `X[${places}]`;
  }

  clear(): void {
    this.log.splice(0, this.log.length, ...this.log.filter((line) => this.definitions.has(line)));
    this.emit("python");
  }

  // ---- the map ---------------------------------------------------------------------------------------------------

  async showMap(info: MapInfo): Promise<void> {
    const points = float32s(await this.source.blob(`map/${info.name}`), "map");
    if (points.length !== 2 * this.opened.n) throw new Error(`map ${info.name}: ${points.length / 2} places for ${this.opened.n} items`);
    this.points = points;
    this.grid = new Grid(points);
    this.mapInfo = info;
    this.marks = { path: [], at: null };
    if (!this.opened.maps.some((m) => m.name === info.name)) this.opened.maps.push(info);
    this.emit("map");
    this.definePlaces();
  }

  codeAt(x: number, y: number): Float32Array | null {
    if (this.mapInfo?.exact && this.place) return Float32Array.from(this.place(x, y));
    return this.codes && this.opened.n ? codeOfPlace(x, y, this.grid, this.codes) : null;
  }

  placeOf(code: ArrayLike<number>): [number, number] | null {
    return this.codes ? placeOfCode(code, this.points, this.codes) : null;
  }

  /** From a place on an exact map to its code: the map is the latent space, moved and scaled. */
  private place: ((x: number, y: number) => [number, number]) | null = null;

  setCodes(codes: Codes): void {
    this.codes = codes;
    this.on("map", () => this.findPlace());
    this.findPlace();
    this.emit("codes");
  }

  private findPlace(): void {
    this.place = null;
    const told = this.mapInfo?.to_code;
    if (told) this.place = (x, y) => [told.shift[0] + told.scale * x, told.shift[1] + told.scale * y];
    const { codes, points } = this;
    if (told || !this.mapInfo?.exact || !codes || codes.size !== 2 || codes.n < 2) return;
    // scale and shift from the two items that lie farthest apart along each axis
    const axes = [0, 1].map((axis) => {
      let [low, high] = [0, 0];
      for (let i = 1; i < codes.n; i++) {
        if (points[2 * i + axis]! < points[2 * low + axis]!) low = i;
        if (points[2 * i + axis]! > points[2 * high + axis]!) high = i;
      }
      const width = points[2 * high + axis]! - points[2 * low + axis]!;
      const scale = width ? (codes.of(high)[axis]! - codes.of(low)[axis]!) / width : 1;
      return { scale, shift: codes.of(low)[axis]! - scale * points[2 * low + axis]! };
    });
    this.place = (x, y) => [x * axes[0]!.scale + axes[0]!.shift, y * axes[1]!.scale + axes[1]!.shift];
  }

  // ---- colours and filters ---------------------------------------------------------------------------------------

  get allColours(): ColourInfo[] {
    const own = this.spread ? [{ name: YOURS, title: "your labels", kind: "category" as const, levels: this.spread.levels }] : [];
    return [...own, ...this.opened.colours];
  }

  values(name: string): Promise<Colouring> {
    if (name === YOURS && this.spread) {
      const levels = this.spread.levels;
      const info: ColourInfo = { name, title: "your labels", kind: "category", levels };
      return Promise.resolve({ info, values: this.spread.labels, low: 0, high: 1, least: 0, most: 1 });
    }
    const info = this.opened.colours.find((c) => c.name === name);
    if (!info) return Promise.reject(new Error(`there is no colour "${name}"`));
    if (!this.colours.has(name)) {
      const read = this.source.blob(`colour/${name}`).then((bytes): Colouring => {
        if (info.kind === "category") return { info, values: uint16s(bytes, name), low: 0, high: 1, least: 0, most: 1 };
        const values = float32s(bytes, name);
        return { info, values, ...span(values) };
      });
      read.catch(() => this.colours.delete(name));
      this.colours.set(name, read);
    }
    return this.colours.get(name)!;
  }

  async colourBy(name: string | null): Promise<void> {
    this.colouring = name === null ? null : await this.values(name);
    this.emit("colour");
    if (name === null || !this.mapInfo) return;
    this.definePlaces();
    const variable = this.variable(name);
    this.python(`im.plots.scatter(places, ${variable})`);
  }

  /** Colour of an item as the map shows it now. */
  colourOf(index: number, dark: boolean): Rgb {
    const c = this.colouring;
    if (!c) return PLAIN[dark ? 1 : 0];
    const value = c.values[index]!;
    if (c.info.kind === "category") return value === 65535 ? MISSING_RGB : kindRgb(value, dark);
    if (Number.isNaN(value)) return MISSING_RGB;
    const t = (value - c.low) / (c.high - c.low);
    return RAMPS[dark ? 1 : 0][t <= 0 ? 0 : t >= 1 ? 255 : Math.round(255 * t)]!;
  }

  cssOf(index: number, dark: boolean): string {
    return css(this.colourOf(index, dark));
  }

  shapeOf(index: number): number {
    const c = this.colouring;
    if (!c || c.info.kind !== "category") return 0;
    const value = c.values[index]!;
    return value === 65535 ? 0 : kindShape(value);
  }

  /** How sure the colour of an item is: 1 but for labels that were spread. */
  sureOf(index: number): number {
    if (this.colouring?.info.name !== YOURS || !this.spread) return 1;
    const chance = 1 / Math.max(this.spread.levels.length, 1);
    return Math.min(Math.max((this.spread.confidence[index]! - chance) / (1 - chance || 1), 0), 1);
  }

  /** The value of the colour that is shown, as text; "" where there is none. */
  valueOf(index: number): string {
    const c = this.colouring;
    if (!c) return "";
    const value = c.values[index]!;
    if (c.info.kind === "category") return c.info.levels?.[value] ?? "missing";
    return Number.isNaN(value) ? "missing" : valueText(c, value);
  }

  async filter(name: string, filter: Filter | null): Promise<void> {
    if (filter) this.filters.set(name, filter);
    else this.filters.delete(name);
    await this.refilter();
    if (!filter) return;
    const variable = this.variable(name);
    if ("low" in filter) {
      const info = this.allColours.find((c) => c.name === name);
      const [low, high] = [filter.low, filter.high].map((v) => Number((v + (info?.zero ?? 0)).toPrecision(info?.format ? 12 : 6)));
      this.python(this.items(`np.flatnonzero((${variable} >= ${low}) & (${variable} <= ${high}))`));
    }
    else {
      const levels = this.allColours.find((c) => c.name === name)?.levels ?? [];
      const kept = [...filter.levels].filter((l) => levels[l] !== undefined).sort((a, b) => a - b).map((l) => levels[l]); // prettier-ignore
      this.python(this.items(`np.flatnonzero(np.isin(${variable}, ${JSON.stringify(kept)}))`));
    }
  }

  async refilter(): Promise<void> {
    const n = this.opened.n;
    const shown = new Uint8Array(n).fill(1);
    for (const [name, filter] of this.filters) {
      const { values } = await this.values(name);
      if ("levels" in filter) {
        for (let i = 0; i < n; i++) if (!filter.levels.has(values[i]!)) shown[i] = 0;
      } else {
        for (let i = 0; i < n; i++) if (!(values[i]! >= filter.low && values[i]! <= filter.high)) shown[i] = 0;
      }
    }
    if (this.text) {
      const wanted = this.text.toLowerCase();
      for (let i = 0; i < n; i++) if (!this.nameOf(i).toLowerCase().includes(wanted)) shown[i] = 0;
    }
    this.shown = shown;
    this.emit("filter");
  }

  // ---- items -----------------------------------------------------------------------------------------------------

  nameOf(index: number): string {
    return this.names?.[index] ?? String(index);
  }

  /** "item 12", with its name where it has one. */
  titleOf(index: number): string {
    const name = this.names?.[index];
    return name && name !== String(index) ? `item ${index} · ${name}` : `item ${index}`;
  }

  select(index: number): void {
    if (index < 0 || index >= this.opened.n) return;
    this.selected = index;
    if (this.chosen.length) {
      this.chosen = [];
      this.emit("chosen");
    }
    if (this.codes) this.take(this.codes.of(index).slice(), this.titleOf(index), `Z[${index}]`, index);
    const value = this.valueOf(index);
    this.say(`${this.titleOf(index)}${value && this.colouring ? `, ${this.colouring.info.title} ${value}` : ""}`);
    const row = `${index}:${index + 1}`;
    this.python(this.opened.decoder ? `X[${row}], model.decode(Z[${row}])` : `X[${row}]`);
    this.emit("selected");
  }

  choose(indices: number[]): void {
    this.chosen = indices;
    this.say(indices.length ? `${indices.length} items selected` : "nothing selected");
    if (indices.length) this.python(this.items(pythonList(indices)));
    this.emit("chosen");
  }

  /** Takes a code in hand: sliders move it, panels show it. */
  take(code: Float32Array, title: string, python: string, item: number | null = null): void {
    this.hand = { code, title, python, item };
    this.emit("code");
  }

  put(slot: number, index: number | null): void {
    this.slots[slot] = index;
    if (index !== null) this.say(`${this.titleOf(index)} is ${"ABC"[slot]}`);
    this.emit("slots");
  }

  mark(path: [number, number][], at: [number, number] | null): void {
    this.marks = { path, at };
    this.emit("marks");
  }

  // ---- labels ----------------------------------------------------------------------------------------------------

  label(indices: Iterable<number>, name: string | null): void {
    const items = [...indices];
    const count = items.length;
    for (const i of items) {
      if (name === null) this.labels.delete(i);
      else this.labels.set(i, name);
    }
    if (count && !this.defineLabels()) this.define(`y[${pythonList(items)}] = ${name === null ? "None" : JSON.stringify(name)}`);
    this.say(name === null ? `${count} labels taken away` : `${count} ${count === 1 ? "item" : "items"} named ${name}`);
    this.emit("labels");
  }

  saved(view: NonNullable<Saved["view"]>): Saved {
    return { version: 1, labels: Object.fromEntries(this.labels), view };
  }
}

/** A colour as a variable of Python. */
export const pythonName = (name: string): string => {
  if (name === YOURS) return "found.labels";
  const plain = name.replace(/\W+/g, "_");
  return /^\d/.test(plain) ? `_${plain}` : plain;
};

/** A list of indices for a line of Python, whole: what is copied must run. */
export const pythonList = (indices: ArrayLike<number>): string => `[${Array.from(indices).join(", ")}]`;

/** A code for a line of Python. */
export const pythonCode = (code: ArrayLike<number>): string =>
  `[${Array.from(code, (v) => String(Number(v.toPrecision(4)))).join(", ")}]`;
