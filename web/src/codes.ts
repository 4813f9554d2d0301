// Arithmetic of codes: distances, neighbours, averages, and the code of a place on the map.

import type { Grid } from "./map/grid";

/** Codes of n items, K numbers each, row after row. */
export class Codes {
  readonly n: number;
  constructor(
    readonly values: Float32Array,
    readonly size: number,
  ) {
    this.n = values.length / size;
  }

  of(index: number): Float32Array {
    return this.values.subarray(index * this.size, (index + 1) * this.size);
  }

  /** The `count` items whose codes lie nearest (Euclidean), the nearest first; `except` is left out. */
  nearest(code: ArrayLike<number>, count: number, except = -1): { index: number; distance: number }[] {
    const best: { index: number; distance: number }[] = [];
    let worst = Infinity;
    const { values, size } = this;
    for (let i = 0, at = 0; i < this.n; i++, at += size) {
      let sum = 0;
      for (let k = 0; k < size && sum < worst; k++) {
        const d = values[at + k]! - code[k]!;
        sum += d * d;
      }
      if (sum >= worst || i === except) continue;
      let place = best.length;
      while (place > 0 && best[place - 1]!.distance > sum) place--;
      best.splice(place, 0, { index: i, distance: sum });
      if (best.length > count) best.pop();
      if (best.length === count) worst = best.at(-1)!.distance;
    }
    for (const one of best) one.distance = Math.sqrt(one.distance);
    return best;
  }

  mean(items: Iterable<number>): Float32Array {
    const sum = new Float64Array(this.size);
    let count = 0;
    for (const i of items) {
      for (let k = 0, at = i * this.size; k < this.size; k++, at++) sum[k]! += this.values[at]!;
      count++;
    }
    return Float32Array.from(sum, (s) => s / Math.max(count, 1));
  }

  /** Averages of all groups at once: `group[i]` below `groups`, any other is left out. */
  means(group: ArrayLike<number>, groups: number): { code: Float32Array; count: number }[] {
    const sums = Array.from({ length: groups }, () => new Float64Array(this.size));
    const counts = new Array<number>(groups).fill(0);
    for (let i = 0, at = 0; i < this.n; i++, at += this.size) {
      const g = group[i]!;
      if (!(g < groups)) continue;
      counts[g]!++;
      const sum = sums[g]!;
      for (let k = 0; k < this.size; k++) sum[k]! += this.values[at + k]!;
    }
    return sums.map((sum, g) => ({ code: Float32Array.from(sum, (s) => s / Math.max(counts[g]!, 1)), count: counts[g]! }));
  }
}

/** Weights of points at these distances: one over the square, so that a point itself counts alone (Shepard 1968). */
export function inverseDistance(distances: ArrayLike<number>): number[] {
  const weights: number[] = [];
  let sum = 0;
  for (let i = 0; i < distances.length; i++) {
    if (distances[i] === 0) return Array.from(distances, (_, j) => (j === i ? 1 : 0));
    const w = 1 / (distances[i]! * distances[i]!);
    weights.push(w);
    sum += w;
  }
  return weights.map((w) => w / sum);
}

export const AROUND = 8;

/** The code of a place on a map: the place itself where the map is the latent space, else by the 8 nearest points. */
export function codeOfPlace(x: number, y: number, grid: Grid, codes: Codes): Float32Array {
  const near = grid.nearest(x, y, AROUND);
  const weights = inverseDistance(near.map((p) => p.distance));
  return combine(near.map((p, i) => [weights[i]!, codes.of(p.index)]), codes.size);
}

/** Where a code lies on a map, by the items whose codes are nearest: the other way round. */
export function placeOfCode(code: ArrayLike<number>, points: Float32Array, codes: Codes): [number, number] {
  const near = codes.nearest(code, AROUND);
  const weights = inverseDistance(near.map((p) => p.distance));
  let x = 0;
  let y = 0;
  near.forEach((p, i) => {
    x += weights[i]! * points[2 * p.index]!;
    y += weights[i]! * points[2 * p.index + 1]!;
  });
  return [x, y];
}

/** Sum of weights times codes. */
export function combine(terms: [number, ArrayLike<number>][], size: number): Float32Array {
  const sum = new Float64Array(size);
  for (const [weight, code] of terms) for (let k = 0; k < size; k++) sum[k]! += weight * code[k]!;
  return Float32Array.from(sum);
}

/** `steps` codes from a to b on the straight line, both ends included. */
export function line(a: ArrayLike<number>, b: ArrayLike<number>, steps: number): Float32Array[] {
  return Array.from({ length: steps }, (_, i) => {
    const t = steps === 1 ? 0 : i / (steps - 1);
    return combine([[1 - t, a], [t, b]], a.length); // prettier-ignore
  });
}
