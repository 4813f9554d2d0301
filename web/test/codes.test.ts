import { describe, expect, it } from "vitest";
import { Codes, codeOfPlace, combine, inverseDistance, line, placeOfCode } from "../src/codes";
import { Density, logDeterminant } from "../src/density";
import { Grid } from "../src/map/grid";
import { vote } from "../src/vote";

/** Numbers that look random and are always the same (a linear congruence). */
function noise(count: number, seed = 1): Float32Array {
  let s = seed;
  return Float32Array.from({ length: count }, () => (s = (Math.imul(s, 1103515245) + 12345) & 0x7fffffff) / 0x40000000 - 1);
}

describe("nearest codes", () => {
  const codes = new Codes(noise(300 * 5), 5);
  const far = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.hypot(...Array.from(a, (v, i) => v - b[i]!));

  it("agree with looking at all", () => {
    for (let q = 0; q < 20; q++) {
      const code = noise(5, 100 + q);
      const all = Array.from({ length: 300 }, (_, i) => ({ index: i, distance: far(codes.of(i), code) })).sort((a, b) => a.distance - b.distance);
      const near = codes.nearest(code, 7);
      expect(near.map((one) => one.index)).toEqual(all.slice(0, 7).map((one) => one.index));
      near.forEach((one, i) => expect(one.distance).toBeCloseTo(all[i]!.distance, 5));
    }
  });

  it("leave one out, and end where there are no more", () => {
    expect(codes.nearest(codes.of(4), 1)[0]!.index).toBe(4);
    expect(codes.nearest(codes.of(4), 300, 4).map((one) => one.index)).not.toContain(4);
    expect(codes.nearest(codes.of(4), 999)).toHaveLength(300);
  });
});

describe("nearest points of the map", () => {
  it.each([1, 2, 9, 500, 5000])("%i points agree with looking at all, far outside too", (n) => {
    const points = noise(2 * n, 7);
    const grid = new Grid(points);
    for (const [x, y] of [[0, 0], [0.3, -0.7], [-1, 1], [4, 0.2], [-30, -30], [0.999, 0.999]] as const) {
      const all = Array.from({ length: n }, (_, i) => Math.hypot(points[2 * i]! - x, points[2 * i + 1]! - y)).sort((a, b) => a - b);
      const near = grid.nearest(x, y, 8);
      expect(near).toHaveLength(Math.min(8, n));
      near.forEach((one, i) => expect(one.distance).toBeCloseTo(all[i]!, 9));
    } // prettier-ignore
  });

  it("only those that are taken", () => {
    const grid = new Grid(noise(200, 3));
    expect(grid.nearest(0, 0, 5, (i) => i % 2 === 1).every((one) => one.index % 2 === 1)).toBe(true);
  });

  it("rectangles and lassos", () => {
    const points = noise(4000, 5);
    const grid = new Grid(points);
    const brute = (f: (x: number, y: number) => boolean) => Array.from({ length: 2000 }, (_, i) => i).filter((i) => f(points[2 * i]!, points[2 * i + 1]!));
    expect(grid.within(-0.2, 0.1, 0.5, 0.3).sort((a, b) => a - b)).toEqual(brute((x, y) => x >= -0.2 && x <= 0.5 && y >= 0.1 && y <= 0.3));
    expect(grid.inside([-0.5, -0.5, 0.5, -0.5, 0, 0.5]).sort((a, b) => a - b)).toEqual(brute((x, y) => y > -0.5 && y < 0.5 - 2 * Math.abs(x)));
    expect(grid.inside([0, 0, 1, 1])).toEqual([]);
    expect(grid.crowd(-2, -2, 2, 2)).toBe(2000);
  });

  it("an empty map has nothing near", () => expect(new Grid(new Float32Array(0)).nearest(0, 0, 8)).toEqual([]));
});

describe("the code of a place", () => {
  const points = noise(2 * 100, 11);
  const codes = new Codes(noise(100 * 3, 12), 3);
  const grid = new Grid(points);

  it("is an item's own code on the item", () => {
    for (const i of [0, 17, 99]) expect(Array.from(codeOfPlace(points[2 * i]!, points[2 * i + 1]!, grid, codes))).toEqual(Array.from(codes.of(i)));
  });

  it("weighs by one over the squared distance", () => {
    expect(inverseDistance([1, 2])).toEqual([0.8, 0.2]);
    expect(inverseDistance([3, 0, 1])).toEqual([0, 1, 0]);
    const near = grid.nearest(0.1, 0.2, 8);
    const weights = near.map((one) => one.distance ** -2);
    const all = weights.reduce((a, b) => a + b);
    const wanted = [0, 1, 2].map((k) => near.reduce((sum, one, i) => sum + (weights[i]! / all) * codes.of(one.index)[k]!, 0));
    Array.from(codeOfPlace(0.1, 0.2, grid, codes)).forEach((v, k) => expect(v).toBeCloseTo(wanted[k]!, 5));
  });

  it("and back: an item's code lies where the item lies", () => {
    expect(placeOfCode(codes.of(5), points, codes)).toEqual([points[10], points[11]]);
  });
});

it("adds, averages and walks", () => {
  const codes = new Codes(Float32Array.from([0, 0, 2, 4, 4, 8]), 2);
  expect(Array.from(combine([[1, codes.of(1)], [-1, codes.of(2)], [0.5, codes.of(2)]], 2))).toEqual([0, 0]); // prettier-ignore
  expect(Array.from(codes.mean([0, 1, 2]))).toEqual([2, 4]);
  const [a, b] = codes.means(Uint16Array.from([0, 65535, 0]), 2);
  expect([Array.from(a!.code), a!.count, b!.count]).toEqual([[2, 4], 2, 0]); // prettier-ignore
  expect(line([0, 0], [2, 4], 3).map((c) => Array.from(c))).toEqual([[0, 0], [1, 2], [2, 4]]); // prettier-ignore
});

describe("density", () => {
  it("of one standard normal in closed form", () => {
    const density = new Density({ kind: "mixture", weights: [1], means: [[0, 0, 0]], cholesky: "density", floor: -5 }, Float32Array.from([1, 0, 0, 0, 1, 0, 0, 0, 1]));
    expect(density.log([1, -2, 0.5])).toBeCloseTo(-1.5 * Math.log(2 * Math.PI) - (1 + 4 + 0.25) / 2, 6);
    expect([density.off([0, 0, 0]), density.off([9, 0, 0])]).toEqual([false, true]);
  });

  it("of a mixture in two dimensions, one of them rotated: a factor that is no triangle", () => {
    // precision of the second: rotation by 30 degrees, deviations 2 and 0.5
    const [c, s] = [Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)];
    const u = [c / 2, -s / 0.5, s / 2, c / 0.5]; // columns are axes over their deviations
    const density = new Density({ kind: "mixture", weights: [0.3, 0.7], means: [[1, 0], [-1, 2]], cholesky: "density", floor: 0 }, Float32Array.from([2, 0, 0, 2, ...u])); // prettier-ignore
    const [x, y] = [0.4, 1.1];
    const first = Math.exp(-((x - 1) ** 2 + y ** 2) / (2 * 0.25)) / (2 * Math.PI * 0.25);
    const along = (x + 1) * c + (y - 2) * s;
    const across = -(x + 1) * s + (y - 2) * c;
    const second = Math.exp(-((along / 2) ** 2 + (across / 0.5) ** 2) / 2) / (2 * Math.PI * 2 * 0.5);
    expect(density.log([x, y])).toBeCloseTo(Math.log(0.3 * first + 0.7 * second), 5);
  });

  it("far away stays a number, and wrong sizes are refused", () => {
    const one = { kind: "mixture" as const, weights: [0.5, 0.5], means: [[0], [1]], cholesky: "density", floor: 0 };
    expect(new Density(one, Float32Array.from([1, 1])).log([1e4])).toBeLessThan(-1e7);
    expect(Number.isFinite(new Density(one, Float32Array.from([1, 1])).log([1e4]))).toBe(true);
    expect(() => new Density(one, Float32Array.from([1]))).toThrow("1 numbers, expected 2");
  });

  it("determinants with pivots", () => {
    expect(logDeterminant([0, 2, 3, 1], 2)).toBeCloseTo(Math.log(6), 12);
    expect(logDeterminant([1, 2, 2, 4], 2)).toBe(-Infinity);
  });
});

describe("labels spread in the page", () => {
  // three far clouds of 40 items
  const values = noise(120 * 4, 5).map((v, i) => 0.3 * v + 10 * Math.floor(i / 160));
  const codes = new Codes(values, 4);

  it("to the cloud that each item belongs to", async () => {
    const told = await vote({ 0: "b", 3: "b", 45: "a", 50: "a", 100: "c" }, codes);
    expect(told.levels).toEqual(["a", "b", "c"]);
    expect(Array.from(told.labels)).toEqual(Array.from({ length: 120 }, (_, i) => [1, 0, 2][Math.floor(i / 40)]));
    expect(told.confidence.every((c) => c > 0.5 && c <= 1)).toBe(true);
    expect(told.confidence[45]).toBe(1);
    expect(told.suggest).toHaveLength(8);
    expect(told.suggest).not.toContain(45);
    expect(told.error).toBeCloseTo(0.2, 9); // the only "c" is told as another when it is left out
  });

  it("nothing from nothing", async () => {
    const told = await vote({}, codes);
    expect([told.error, told.suggest.length, told.labels[0]]).toEqual([null, 0, 65535]);
  });
});
