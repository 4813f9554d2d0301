// Labels spread without Python: each item is told by the nearest items that have a label, in the space of codes.

import type { LabelAnswer } from "./contract";
import type { Codes } from "./codes";

export const VOTERS = 5;
const ASKED = 8;

interface Told {
  level: number;
  confidence: number;
}

/** The vote of the nearest labelled items, the nearer the heavier; `except` does not vote. */
function told(at: ArrayLike<number>, codes: Codes, items: number[], level: number[], levels: number, except = -1): Told {
  const near: { distance: number; level: number }[] = [];
  for (let j = 0; j < items.length; j++) {
    if (items[j] === except) continue;
    const other = items[j]! * codes.size;
    let sum = 0;
    for (let k = 0; k < codes.size; k++) {
      const d = at[k]! - codes.values[other + k]!;
      sum += d * d;
    }
    if (near.length === VOTERS && sum >= near.at(-1)!.distance) continue;
    let place = near.length;
    while (place > 0 && near[place - 1]!.distance > sum) place--;
    near.splice(place, 0, { distance: sum, level: level[j]! });
    if (near.length > VOTERS) near.pop();
  }
  const weight = new Float64Array(levels);
  const nearest = near[0]?.distance ?? 0;
  for (const one of near) weight[one.level]! += 1 / (one.distance + nearest + 1e-12);
  let best = 0;
  let all = 0;
  for (let l = 0; l < levels; l++) {
    all += weight[l]!;
    if (weight[l]! > weight[best]!) best = l;
  }
  return { level: best, confidence: all ? weight[best]! / all : 0 };
}

/** `rest` is awaited now and then, so that a page stays awake. */
export async function vote(
  labels: Record<string, string>,
  codes: Codes,
  rest: () => Promise<void> = async () => {},
): Promise<LabelAnswer> {
  const items = Object.keys(labels).map(Number);
  const levels = [...new Set(Object.values(labels))].sort();
  const level = items.map((i) => levels.indexOf(labels[i]!));
  const out = new Uint16Array(codes.n).fill(65535);
  const confidence = new Float32Array(codes.n);
  if (!items.length) return { levels, labels: out, confidence, error: null, suggest: [] };
  for (let i = 0; i < codes.n; i++) {
    const one = told(codes.of(i), codes, items, level, levels.length);
    out[i] = one.level;
    confidence[i] = one.confidence;
    if (i % 4096 === 4095) await rest();
  }
  items.forEach((i, j) => {
    out[i] = level[j]!;
    confidence[i] = 1;
  });
  // leave one out: what would have been said of each labelled item without it
  let wrong = 0;
  items.forEach((i, j) => {
    if (told(codes.of(i), codes, items, level, levels.length, i).level !== level[j]) wrong++;
  });
  const error = items.length > levels.length ? wrong / items.length : null;
  return { levels, labels: out, confidence, error, suggest: useful(labels, codes, confidence) };
}

/** The least certain items of a spread sample, and of them such as lie far from each other. */
function useful(labels: Record<string, string>, codes: Codes, confidence: Float32Array): number[] {
  const stride = Math.max(1, Math.floor(codes.n / 5000));
  const some: number[] = [];
  for (let i = 0; i < codes.n; i += stride) if (!(String(i) in labels)) some.push(i);
  some.sort((a, b) => confidence[a]! - confidence[b]! || a - b);
  const candidates = some.slice(0, 200);
  const chosen: number[] = [];
  const apart = candidates.map(() => 1e9);
  while (chosen.length < Math.min(ASKED, candidates.length)) {
    let best = -1;
    candidates.forEach((c, j) => {
      if (chosen.includes(c)) return;
      if (best < 0 || (1 - confidence[c]!) * apart[j]! > (1 - confidence[candidates[best]!]!) * apart[best]!) best = j;
    });
    const item = candidates[best]!;
    chosen.push(item);
    candidates.forEach((c, j) => {
      let sum = 0;
      for (let k = 0; k < codes.size; k++) sum += (codes.of(c)[k]! - codes.of(item)[k]!) ** 2;
      apart[j] = Math.min(apart[j]!, Math.sqrt(sum));
    });
  }
  return chosen;
}
