// The prior's log density of a code: a mixture of Gaussians, each given by U of its precision U Uᵀ.

import type { Mixture } from "./contract";

export class Density {
  private readonly constant: number[];

  constructor(
    private readonly mixture: Mixture,
    private readonly factors: Float32Array,
  ) {
    const size = mixture.means[0]?.length ?? 0;
    const wanted = mixture.weights.length * size * size;
    if (factors.length !== wanted) throw new Error(`density: ${factors.length} numbers, expected ${wanted}`);
    this.constant = mixture.weights.map((weight, m) => {
      const square = factors.subarray(m * size * size, (m + 1) * size * size);
      return Math.log(weight) - (size / 2) * Math.log(2 * Math.PI) + logDeterminant(square, size);
    });
  }

  log(code: ArrayLike<number>): number {
    const { means } = this.mixture;
    const logs = means.map((mean, m) => {
      const size = mean.length;
      let squared = 0;
      for (let j = 0; j < size; j++) {
        let sum = 0;
        for (let k = 0, at = m * size * size + j; k < size; k++, at += size) sum += (code[k]! - mean[k]!) * this.factors[at]!;
        squared += sum * sum;
      }
      return this.constant[m]! - squared / 2;
    });
    const most = Math.max(...logs);
    return most === -Infinity ? most : most + Math.log(logs.reduce((sum, l) => sum + Math.exp(l - most), 0));
  }

  /** Rarer than 99 of 100 of the data's own items: off the map of the data. */
  off(code: ArrayLike<number>): boolean {
    return this.log(code) < this.mixture.floor;
  }
}

/** log |det| by elimination with pivots: the factors need not be triangular. */
export function logDeterminant(matrix: ArrayLike<number>, size: number): number {
  const a = Float64Array.from(matrix);
  let sum = 0;
  for (let k = 0; k < size; k++) {
    let pivot = k;
    for (let i = k + 1; i < size; i++) if (Math.abs(a[i * size + k]!) > Math.abs(a[pivot * size + k]!)) pivot = i;
    const largest = a[pivot * size + k]!;
    if (largest === 0) return -Infinity;
    for (let j = k; j < size; j++) {
      const kept = a[k * size + j]!;
      a[k * size + j] = a[pivot * size + j]!;
      a[pivot * size + j] = kept;
    }
    sum += Math.log(Math.abs(largest));
    for (let i = k + 1; i < size; i++) {
      const factor = a[i * size + k]! / largest;
      if (factor) for (let j = k; j < size; j++) a[i * size + j]! -= factor * a[k * size + j]!;
    }
  }
  return sum;
}
