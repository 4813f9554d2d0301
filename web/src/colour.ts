// Colours that colour-blind people tell apart: Okabe & Ito (2008) for kinds, viridis for numbers.

import type { ColourInfo } from "./contract";

export type Rgb = [number, number, number];

/** Okabe-Ito, the black as the grey that both themes show. */
export const KINDS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#7F7F7F"];
export const SHAPES = ["disc", "ring", "square", "cross"] as const;
export const MISSING = "#9a9a94";

const VIRIDIS = ["#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151",
  "#bddf26", "#fde725"].map(rgb); // prettier-ignore

export function rgb(hex: string): Rgb {
  const v = parseInt(hex.slice(1), 16);
  return [v >> 16, (v >> 8) & 255, v & 255];
}

/** Past eight the colours come again nearer to the ink, and each time with another shape; for light and dark. */
export const KINDS_RGB: readonly [readonly Rgb[], readonly Rgb[]] = [0, 255].map((ink) =>
  [1, 0.58, 0.36].flatMap((share) => KINDS.map((hex) => rgb(hex).map((v) => Math.round(ink + share * (v - ink))) as Rgb)),
) as [Rgb[], Rgb[]];
export const MISSING_RGB: Rgb = rgb(MISSING);
export const PLAIN: readonly [Rgb, Rgb] = [rgb("#4a6c8f"), rgb("#8fb4d9")]; // light, dark

export const css = ([r, g, b]: Rgb): string => `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;

export const kindRgb = (level: number, dark: boolean): Rgb => KINDS_RGB[dark ? 1 : 0][level % 24]!;
export const kindColour = (level: number, dark: boolean): string => css(kindRgb(level, dark));
export const kindShape = (level: number): number => Math.floor(level / KINDS.length) % SHAPES.length;

/** The colour at t of 0..1; the dark end is lifted on a dark page, so that low values are seen there. */
export function sequential(t: number, dark: boolean): Rgb {
  const u = Math.min(Math.max(dark ? 0.14 + 0.86 * t : 0.96 * t, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(u), VIRIDIS.length - 2);
  const [a, b] = [VIRIDIS[low]!, VIRIDIS[low + 1]!];
  const rest = u - low;
  return [0, 1, 2].map((i) => a[i]! + rest * (b[i]! - a[i]!)) as Rgb;
}

/** The range that colours span: from the 1 % to the 99 % quantile of a sample, so that one outlier hides nothing. */
export function span(values: ArrayLike<number>): { low: number; high: number; least: number; most: number } {
  const stride = Math.max(1, Math.floor(values.length / 50_000));
  const some: number[] = [];
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (!Number.isFinite(v)) continue;
    if (v < least) least = v;
    if (v > most) most = v;
    if (i % stride === 0) some.push(v);
  }
  if (least > most) return { low: 0, high: 1, least: 0, most: 1 };
  some.sort((a, b) => a - b);
  let low = some[Math.floor(0.01 * (some.length - 1))] ?? least;
  let high = some[Math.ceil(0.99 * (some.length - 1))] ?? most;
  if (!(low < high)) [low, high] = [least, most];
  if (low === high) high = low + 1;
  return { low, high, least, most };
}

/** A number as a reader wants it: four digits at most, no noise. */
export function short(v: number | null | undefined): string {
  if (v === null || v === undefined || Number.isNaN(v)) return "–";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  const size = Math.abs(v);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return v.toExponential(1).replace("-", "−").replace("e+", "e");
  if (Number.isInteger(v)) return String(v).replace("-", "−");
  return v.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3).replace("-", "−");
}

const DAY = 86_400_000; // milliseconds

/** A value of a colour as text: a date where it is one, with the time of day where all lie within two months. */
export function valueText(c: { info: ColourInfo; least: number; most: number }, v: number): string {
  const { format, zero = 0 } = c.info;
  if (!format || !Number.isFinite(v)) return short(v);
  const time = new Date(format === "time" ? Math.round(v) * 1000 : Math.round((v + zero) * DAY));
  if (Number.isNaN(time.getTime())) return "–";
  const [date, clock] = time.toISOString().split("T") as [string, string];
  if (format === "time") return clock.slice(0, 8);
  return format === "date" || c.most - c.least > 60 ? date : `${date} ${clock.slice(0, c.most - c.least < 0.1 ? 8 : 5)}`;
}

/** The value that a text means: 3.5, or 2024-05-31 and 14:30 where values are moments. NaN for what is none. */
export function valueOfText(info: ColourInfo, text: string): number {
  if (info.format === "time") return Date.parse(`1970-01-01T${text}Z`) / 1000;
  if (info.format) return /^\d{4}-\d\d/.test(text) ? Date.parse(`${text.replace(" ", "T")}${/\d:\d/.test(text) ? "Z" : ""}`) / DAY - (info.zero ?? 0) : NaN;
  return Number(text.replace("−", "-"));
}

/** 256 colours from the lowest value to the highest. */
export const RAMPS: readonly [readonly Rgb[], readonly Rgb[]] = [false, true].map((dark) =>
  Array.from({ length: 256 }, (_, i) => sequential(i / 255, dark)),
) as unknown as [Rgb[], Rgb[]];

/** A difference of -1..1 on white or black: blue below, vermilion above. */
export function difference(t: number, dark: boolean): Rgb {
  const ground: Rgb = dark ? [24, 26, 31] : [255, 255, 255];
  const end = rgb(t < 0 ? KINDS[0]! : KINDS[3]!);
  const share = Math.min(Math.abs(t), 1);
  return [0, 1, 2].map((i) => ground[i]! + share * (end[i]! - ground[i]!)) as Rgb;
}
