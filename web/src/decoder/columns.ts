// What a decoder's numbers say of the columns of a table, as text for the eye.

import type { Column } from "../contract";
import { type Numbers, rounded } from "./interpreter";

export type Cells = [string, string][];
type Of<K extends Column["kind"]> = Extract<Column, { kind: K }>;

export function cells(p: Numbers, columns: Column[]): Cells {
  return columns.map((column) => [column.name, cell(p, column)]);
}

function cell(p: Numbers, column: Column): string {
  switch (column.kind) {
    case "fixed":
      return column.value ?? "";
    case "number":
      return number(p, column);
    case "datetime":
      return dated(moment(p, column), column.format);
    case "text":
      return text(p, column);
    default:
      return choice(p, column);
  }
}

/** The place of the largest from `from` to before `to`, counted from `from`; of equals the first. */
function largest(p: Numbers, from: number, to: number): number {
  let best = from;
  for (let i = from + 1; i < to; i++) if (p[i]! > p[best]!) best = i;
  return best - from;
}

function number(p: Numbers, column: Of<"number">): string {
  const { spike, sinh, digits } = column;
  let value = curve(p[column.at]!, column.x, column.y);
  if (sinh) {
    const t = Math.min(Math.max(p[column.at]! * sinh.deviation + sinh.mean, -700), 700);
    value = Math.min(Math.max(sinh.centre + sinh.spread * Math.sinh(t), sinh.low), sinh.high);
  }
  if (spike && largest(p, spike.from, spike.to) === 1) value = spike.value;
  if (digits === null) return String(Number(value.toPrecision(6)));
  const scale = 10 ** digits;
  return (rounded(value * scale) / scale).toFixed(digits);
}

function choice(p: Numbers, column: Of<"category" | "boolean">): string {
  const { levels } = column;
  const parts = column.parts ?? [[column.from!, column.to!]];
  if (!column.parts && parts[0]![1] - parts[0]![0] === 1) return levels[p[parts[0]![0]]! > 0 ? 1 : 0] ?? "";
  const level = parts.reduce((sum, [from, to], k) => sum + largest(p, from, to) * 256 ** k, 0);
  return levels[Math.min(level, levels.length - 1)] ?? "";
}

function text(p: Numbers, column: Of<"text">): string {
  const bytes: number[] = [];
  for (const [from, to] of column.parts) {
    const place = largest(p, from, to);
    if (place >= column.bytes.length || column.bytes[place] === 0) break;
    bytes.push(column.bytes[place]!);
  }
  return new TextDecoder().decode(Uint8Array.from(bytes)).replaceAll("\ufffd", "");
}

/** Milliseconds since 1970: the trend, moved by the least that agrees with the cycles. */
export function moment(p: Numbers, column: Of<"datetime">): number {
  const { x, y, grain } = column;
  const [low, high] = [y[0]!, y.at(-1)!];
  let now = curve(p[column.at]!, x, y);
  for (const { at, middle, size, period } of column.cycles ?? []) {
    const sine = p[at[0]]! * size[0] + middle[0];
    const cosine = p[at[1]]! * size[1] + middle[1];
    const turns = now / period;
    const turn = Math.atan2(sine, cosine) / (2 * Math.PI) - (turns - Math.floor(turns));
    now += (turn - rounded(turn)) * period;
  }
  now = Math.min(Math.max(now, low), high);
  if (grain) now = low + Math.floor((now - low) / grain + 0.5) * grain;
  return Math.min(Math.max(now, low), high);
}

function dated(milliseconds: number, format: string): string {
  const time = new Date(milliseconds);
  if (Number.isNaN(time.getTime())) return "";
  const iso = time.toISOString();
  const at = iso.indexOf("T");
  if (format === "date") return iso.slice(0, at);
  const clock = iso.slice(at + 1, at + 9);
  return format === "time" ? clock : `${iso.slice(0, at)} ${clock}`;
}

/** Linear between knots, the ends held. */
export function curve(v: number, x: number[], y: number[]): number {
  if (!x.length) return v;
  if (v <= x[0]!) return y[0]!;
  if (v >= x.at(-1)!) return y.at(-1)!;
  let low = 0;
  let high = x.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle]! <= v) low = middle;
    else high = middle;
  }
  const width = x[high]! - x[low]!;
  return width ? y[low]! + ((v - x[low]!) / width) * (y[high]! - y[low]!) : y[low]!;
}
