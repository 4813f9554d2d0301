import { describe, expect, it } from "vitest";
import type { Column, Layer } from "../src/contract";
import { cells, curve, moment } from "../src/decoder/columns";
import { compile, erf, pixels, product, rounded } from "../src/decoder/interpreter";
import { decoderOf } from "../src/decoder/made";
import known from "./known/layers.json";

interface Case {
  name: string;
  layers: Layer[];
  weights: number[];
  x: number[];
  wanted: number[];
}

describe("every layer gives what PyTorch gives", () => {
  it.each((known as unknown as Case[]).map((one) => [one.name, one] as const))("%s", (_, { layers, weights, x, wanted }) => {
    const { run } = compile(layers, Float32Array.from(weights), x.length);
    for (const again of [0, 1]) {
      const out = Array.from(run(Float32Array.from(x)));
      expect(out.length).toBe(wanted.length);
      out.forEach((v, i) => expect(Math.abs(v - wanted[i]!), `element ${i}, run ${again}`).toBeLessThan(2e-5 * Math.max(1, Math.abs(wanted[i]!))));
    }
  });

  it("keeps thousandths of times: what follows an affine of parts is float64", () => {
    const { run } = compile([{ op: "affine", scales: [0.001], shifts: [1.7e12], each: 2 }, { op: "clip", low: 0, high: 2e12 }], new Float32Array(), 2);
    expect(Array.from(run(Float32Array.from([1, 2])))).toEqual([1.7e12 + 0.001, 1.7e12 + 0.002]);
  });

  it("knows every layer of its list", () => {
    const named = new Set((known as unknown as Case[]).flatMap((one) => one.layers.map((l) => l.op)));
    for (const op of ["linear", "silu", "relu", "gelu", "tanh", "sigmoid", "softplus", "residual", "conv", "unshuffle_out", "slice", "affine", "clip", "round", "step", "argmax"]) expect([...named]).toContain(op);
  });

  it("refuses what it does not know, and sizes that do not fit", () => {
    expect(() => compile([{ op: "magic" } as unknown as Layer], new Float32Array(), 2)).toThrow("does not know");
    expect(() => compile([{ op: "linear", in: 3, out: 1, weight: 0, bias: null }], new Float32Array(3), 2)).toThrow("takes 3 numbers and is given 2");
    expect(() => compile([{ op: "linear", in: 2, out: 2, weight: 0, bias: null }], new Float32Array(3), 2)).toThrow("weights");
  });
});

it("multiplies matrices of any size", () => {
  for (const [m, k, n] of [[4, 3, 4], [5, 2, 7], [1, 9, 1], [8, 1, 12], [3, 4, 2]] as const) {
    const a = Float32Array.from({ length: m * k }, (_, i) => Math.sin(i));
    const b = Float32Array.from({ length: k * n }, (_, i) => Math.cos(i));
    const bias = Float32Array.from({ length: n }, (_, i) => i);
    const out = new Float32Array(m * n);
    product(a, b, bias, out, m, k, n);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = j;
        for (let l = 0; l < k; l++) sum += a[i * k + l]! * b[l * n + j]!;
        expect(out[i * n + j]).toBeCloseTo(sum, 5);
      }
  } // prettier-ignore
});

it("rounds half to even", () => {
  expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, 2.6].map((v) => rounded(v) + 0)).toEqual([-2, -2, 0, 0, 2, 2, 2, 3]);
});

it("knows the error function", () => {
  for (const [x, y] of [[0, 0], [0.5, 0.5204998778], [1, 0.8427007929], [-2, -0.995322265]] as const) expect(erf(x)).toBeCloseTo(y, 6);
});

it("lays planes out as pixels, held to the levels", () => {
  expect(Array.from(pixels(Float32Array.from([0.5, 1.5, 300, -4, 10, 20]), 3, 255))).toEqual([0, 255, 10, 2, 0, 20]);
  expect(pixels(Float32Array.from([60000]), 1, 65535)[0]).toBe(60000);
});

it("decodes an image, numbers and a row", () => {
  const weights = Float32Array.from([1, 0, 0, 1]);
  const linear: Layer = { op: "linear", in: 2, out: 2, weight: 0, bias: null };
  const image = decoderOf({ kind: "plain", layers: [linear, { op: "to_item" }], weights: "weights" }, weights, 2, { kind: "image", height: 1, width: 2, channels: 1, levels: 255 });
  expect(image(Float32Array.from([7, 9.4]))).toEqual({ kind: "image", pixels: Uint8Array.from([7, 9]) });
  const vector = decoderOf({ kind: "plain", layers: [linear], weights: "weights" }, weights, 2, { kind: "vector", names: null, size: 2 });
  expect(vector(Float32Array.from([7, 9.5]))).toEqual({ kind: "numbers", values: Float32Array.from([7, 9.5]) });
  const row = decoderOf({ kind: "plain", layers: [linear, { op: "columns", columns: [{ name: "a", kind: "number", at: 1, x: [0, 10], y: [0, 100], digits: 1 }] }], weights: "weights" }, weights, 2, { kind: "table", columns: [{ name: "a", kind: "number" }] });
  expect(row(Float32Array.from([7, 9.5]))).toEqual({ kind: "row", cells: [["a", "95.0"]] });
});

describe("columns of a table", () => {
  const say = (column: Partial<Column> & { kind: Column["kind"] }, ...p: number[]) => cells(Float64Array.from(p), [{ name: "c", ...column } as Column])[0]![1];

  it("numbers lie on their curve, are rounded, and spike", () => {
    expect(say({ kind: "number", at: 0, x: [0, 1, 2], y: [0, 10, 30], digits: null }, 1.5)).toBe("20");
    expect(say({ kind: "number", at: 0, x: [0, 1], y: [0, 10], digits: 0 }, 0.25)).toBe("2");
    expect(say({ kind: "number", at: 0, x: [0, 1], y: [0, 10], digits: 0 }, 9)).toBe("10");
    const spiked = { kind: "number" as const, at: 0, x: [0, 1], y: [0, 10], digits: 1, spike: { from: 1, to: 3, value: -1 } };
    expect(say(spiked, 0.5, 0, 1)).toBe("-1.0");
    expect(say(spiked, 0.5, 1, 0)).toBe("5.0");
    const bent = { centre: 5, spread: 2, mean: 1, deviation: 0.5, low: -100, high: 9 };
    expect(Number(say({ kind: "number", at: 0, x: [], y: [], digits: null, sinh: bent }, -2))).toBeCloseTo(5, 4);
    expect(say({ kind: "number", at: 0, x: [], y: [], digits: null, sinh: bent }, 50)).toBe("9");
  });

  it("kinds are the largest, the first of equals", () => {
    expect(say({ kind: "category", from: 1, to: 4, levels: ["a", "b", "c"] }, 9, 1, 3, 3)).toBe("b");
    expect(say({ kind: "boolean", from: 0, to: 1, levels: ["no", "yes"] }, 0.1)).toBe("yes");
    const many = Array.from({ length: 300 }, (_, i) => `level ${i}`);
    expect(say({ kind: "category", parts: [[0, 3], [3, 5]], levels: many }, 0, 0, 1, 0, 1)).toBe("level 258"); // prettier-ignore
    expect(say({ kind: "category", parts: [[0, 3], [3, 5]], levels: ["only"] }, 0, 0, 1, 0, 1)).toBe("only"); // prettier-ignore
  });

  it("texts end where they end", () => {
    const bytes = [99, 97, 116];
    const parts: [number, number][] = [[0, 4], [4, 8], [8, 12]]; // prettier-ignore
    expect(say({ kind: "text", parts, bytes }, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)).toBe("ca");
    expect(say({ kind: "text", parts, bytes }, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)).toBe("cat");
  });

  it("dates follow their trend and their cycles", () => {
    const day = 86_400_000;
    const column = { kind: "datetime" as const, name: "d", at: 0, x: [0, 1], y: [0, 10 * day], format: "datetime" };
    expect(say(column, 0.5)).toBe("1970-01-06 00:00:00");
    expect(say({ ...column, format: "date" }, 0.5)).toBe("1970-01-06");
    // the clock says six in the morning, a quarter turn: the nearest such moment is taken
    const cycles = [{ at: [1, 2] as [number, number], middle: [0, 0] as [number, number], size: [1, 1] as [number, number], period: day }];
    expect(moment(Float64Array.from([0.5, 1, 0]), { ...column, cycles })).toBeCloseTo(5.25 * day, 3);
    expect(moment(Float64Array.from([0.5, 1, 0]), { ...column, cycles, grain: day })).toBe(5 * day);
    expect(moment(Float64Array.from([99, 1, 0]), { ...column, cycles })).toBe(10 * day);
  });

  it("what is fixed stays, what is unknown is empty", () => {
    expect(say({ kind: "fixed", value: "always" })).toBe("always");
    expect(say({ kind: "fixed", value: null })).toBe("");
  });
});

it("is linear between knots and holds the ends", () => {
  expect([-1, 0, 0.5, 1, 3, 9].map((v) => curve(v, [0, 1, 3], [0, 4, 0]))).toEqual([0, 0, 2, 4, 0, 0]);
});
