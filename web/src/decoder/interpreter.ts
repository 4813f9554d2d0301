// The decoder of a model as a short list of plain steps on Float32Array; data with sides is channels-last until
// "unshuffle_out", planes after it. Steps write into buffers that are made once.

import type { Column, Layer } from "../contract";

/** float32, but float64 from an affine step with an entry for each element on: times have large offsets. */
export type Numbers = Float32Array | Float64Array;
export type Run = (x: Numbers) => Numbers;

export interface Program {
  /** The numbers at the end of the layers that are numbers. */
  run: Run;
  columns: Column[] | null;
  toItem: boolean;
}

/** Makes the steps for codes of `size` numbers. */
export function compile(layers: Layer[], weights: Float32Array, size: number): Program {
  const last = layers.at(-1);
  const columns = last?.op === "columns" ? last.columns : null;
  const toItem = last?.op === "to_item";
  const { run } = chain(columns || toItem ? layers.slice(0, -1) : layers, weights, size);
  return { run, columns, toItem };
}

interface Step {
  run: Run;
  size: number;
  wide: boolean;
}

function chain(layers: Layer[], weights: Float32Array, size: number, wide = false): Step {
  const steps: Run[] = [];
  for (const layer of layers) {
    const made = step(layer, weights, size, wide);
    steps.push(made.run);
    ({ size, wide } = made);
  }
  const run = (x: Numbers) => {
    for (const one of steps) x = one(x);
    return x;
  };
  return { run, size, wide };
}

function step(layer: Layer, weights: Float32Array, size: number, wide: boolean): Step {
  const each = (f: (v: number, i: number) => number, large = wide): Step => {
    const out = large ? new Float64Array(size) : new Float32Array(size);
    const run = (x: Numbers) => {
      for (let i = 0; i < size; i++) out[i] = f(x[i]!, i);
      return out;
    };
    return { run, size, wide: large };
  };
  /** Of all elements, or only of those at these places. */
  const some = (at: number[] | undefined, f: (v: number) => number): Step => {
    if (!at) return each(f);
    const chosen = new Uint8Array(size);
    for (const i of at) chosen[i] = 1;
    return each((v, i) => (chosen[i] ? f(v) : v));
  };
  switch (layer.op) {
    case "linear": {
      expect(layer.op, layer.in, size);
      const matrix = part(weights, layer.weight, layer.in * layer.out);
      const bias = layer.bias === null ? null : part(weights, layer.bias, layer.out);
      const out = new Float32Array(layer.out);
      return { run: (x) => linear(x, matrix, bias, out), size: layer.out, wide: false };
    }
    case "conv":
      return convolution(layer, weights, size);
    case "residual": {
      const body = chain(layer.body, weights, size);
      expect("residual", size, body.size);
      const out = new Float32Array(size);
      const kept = new Float32Array(size);
      const run = (x: Numbers) => {
        kept.set(x); // a body may overwrite what it was given
        const y = body.run(x);
        for (let i = 0; i < size; i++) out[i] = kept[i]! + y[i]!;
        return out;
      };
      return { run, size, wide: false };
    }
    case "unshuffle_out":
      return unshuffle(layer, size);
    case "slice":
      return { run: (x) => x.subarray(layer.from, layer.to), size: layer.to - layer.from, wide };
    case "argmax":
      return argmax(layer, size);
    case "affine": {
      if ("scales" in layer) {
        const { scales, shifts, each: m } = layer;
        return each((v, i) => v * scales[Math.floor(i / m)]! + shifts[Math.floor(i / m)]!, true);
      }
      return each((v) => v * layer.scale + layer.shift);
    }
    case "clip": {
      const low = layer.low ?? -Infinity;
      const high = layer.high ?? Infinity;
      return some(layer.at, (v) => Math.min(Math.max(v, low), high));
    }
    case "round":
      return some(layer.at, rounded);
    case "step":
      return each((v) => (v >= 0 ? 1 : 0));
    case "silu":
      return each((v) => v / (1 + Math.exp(-v)));
    case "relu":
      return each((v) => Math.max(v, 0));
    case "gelu":
      return each((v) => 0.5 * v * (1 + erf(v / Math.SQRT2)));
    case "tanh":
      return each(Math.tanh);
    case "sigmoid":
      return each((v) => 1 / (1 + Math.exp(-v)));
    case "softplus":
      return each((v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))));
    default:
      throw new Error(`the decoder has a step that this page does not know: ${JSON.stringify(layer).slice(0, 80)}`);
  }
}

/** Of L planes of D numbers, the level whose plane is largest at each place; of equals the first. */
function argmax(layer: Extract<Layer, { op: "argmax" }>, size: number): Step {
  const { levels, size: width } = layer;
  expect("argmax", levels * width, size);
  const out = new Float32Array(width);
  const run = (x: Numbers) => {
    for (let i = 0; i < width; i++) {
      let best = 0;
      for (let l = 1; l < levels; l++) if (x[l * width + i]! > x[best * width + i]!) best = l;
      out[i] = best;
    }
    return out;
  };
  return { run, size: width, wide: false };
}

function part(weights: Float32Array, from: number, count: number): Float32Array {
  if (from < 0 || from + count > weights.length) throw new Error(`weights ${from}..${from + count} of ${weights.length}`);
  return weights.subarray(from, from + count);
}

function expect(op: string, wanted: number, got: number): void {
  if (wanted !== got) throw new Error(`${op}: takes ${wanted} numbers and is given ${got}`);
}

/** y = W x + b, W (out, in): four rows at a time share each reading of x. */
function linear(x: Numbers, w: Float32Array, bias: Float32Array | null, out: Float32Array): Float32Array {
  const ins = x.length;
  const outs = out.length;
  let o = 0;
  for (; o + 4 <= outs; o += 4) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let p = o * ins;
    let q = p + ins;
    let r = q + ins;
    let s = r + ins;
    for (let i = 0; i < ins; i++) {
      const v = x[i]!;
      a += v * w[p++]!;
      b += v * w[q++]!;
      c += v * w[r++]!;
      d += v * w[s++]!;
    }
    out[o] = a;
    out[o + 1] = b;
    out[o + 2] = c;
    out[o + 3] = d;
  }
  for (; o < outs; o++) {
    let a = 0;
    for (let i = 0, p = o * ins; i < ins; i++, p++) a += x[i]! * w[p]!;
    out[o] = a;
  }
  if (bias) for (let i = 0; i < outs; i++) out[i] = out[i]! + bias[i]!;
  return out;
}

/** C (m, n) = A (m, k) B (k, n) + bias: blocks of 4 x 4 stay in registers. */
export function product(
  a: Float32Array,
  b: Float32Array,
  bias: Float32Array | null,
  out: Float32Array,
  m: number,
  k: number,
  n: number,
): void {
  for (let j = 0; j < n; j += 4) {
    const wide = j + 4 <= n;
    for (let i = 0; i < m; i += 4) {
      if (wide && i + 4 <= m) {
        let c00 = 0, c01 = 0, c02 = 0, c03 = 0; // prettier-ignore
        let c10 = 0, c11 = 0, c12 = 0, c13 = 0; // prettier-ignore
        let c20 = 0, c21 = 0, c22 = 0, c23 = 0; // prettier-ignore
        let c30 = 0, c31 = 0, c32 = 0, c33 = 0; // prettier-ignore
        let p = i * k;
        let q = p + k;
        let r = q + k;
        let s = r + k;
        let t = j;
        for (let l = 0; l < k; l++, t += n) {
          const b0 = b[t]!;
          const b1 = b[t + 1]!;
          const b2 = b[t + 2]!;
          const b3 = b[t + 3]!;
          let v = a[p++]!;
          c00 += v * b0; c01 += v * b1; c02 += v * b2; c03 += v * b3; // prettier-ignore
          v = a[q++]!;
          c10 += v * b0; c11 += v * b1; c12 += v * b2; c13 += v * b3; // prettier-ignore
          v = a[r++]!;
          c20 += v * b0; c21 += v * b1; c22 += v * b2; c23 += v * b3; // prettier-ignore
          v = a[s++]!;
          c30 += v * b0; c31 += v * b1; c32 += v * b2; c33 += v * b3; // prettier-ignore
        }
        let w = i * n + j;
        out[w] = c00; out[w + 1] = c01; out[w + 2] = c02; out[w + 3] = c03; // prettier-ignore
        w += n;
        out[w] = c10; out[w + 1] = c11; out[w + 2] = c12; out[w + 3] = c13; // prettier-ignore
        w += n;
        out[w] = c20; out[w + 1] = c21; out[w + 2] = c22; out[w + 3] = c23; // prettier-ignore
        w += n;
        out[w] = c30; out[w + 1] = c31; out[w + 2] = c32; out[w + 3] = c33; // prettier-ignore
      } else {
        for (let y = i; y < Math.min(i + 4, m); y++) {
          for (let x = j; x < Math.min(j + 4, n); x++) {
            let c = 0;
            for (let l = 0; l < k; l++) c += a[y * k + l]! * b[l * n + x]!;
            out[y * n + x] = c;
          }
        }
      }
    }
  }
  if (bias) for (let i = 0, w = 0; i < m; i++) for (let j = 0; j < n; j++, w++) out[w] = out[w]! + bias[j]!;
}

/** A convolution that keeps the sides, zeros around, as one product with the patches (im2col). */
function convolution(
  layer: Extract<Layer, { op: "conv" }>,
  weights: Float32Array,
  size: number,
): Step {
  const [height, width] = layer.sides.length === 1 ? [1, layer.sides[0]!] : [layer.sides[0]!, layer.sides[1]!];
  const tall = layer.sides.length === 1 ? 1 : layer.kernel;
  const broad = layer.kernel;
  const ins = layer.in;
  expect("conv", height * width * ins, size);
  const depth = tall * broad * ins;
  const matrix = part(weights, layer.weight, depth * layer.out);
  const bias = layer.bias === null ? null : part(weights, layer.bias, layer.out);
  const patches = new Float32Array(height * width * depth);
  const out = new Float32Array(height * width * layer.out);
  const up = (tall - 1) >> 1;
  const left = (broad - 1) >> 1;
  const run = (x: Numbers) => {
    let to = 0;
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < width; c++) {
        for (let i = y - up; i < y - up + tall; i++) {
          for (let j = c - left; j < c - left + broad; j++, to += ins) {
            if (i < 0 || i >= height || j < 0 || j >= width) continue; // stays the zero that it was made with
            const from = (i * width + j) * ins;
            for (let k = 0; k < ins; k++) patches[to + k] = x[from + k]!;
          }
        }
      }
    }
    product(patches, matrix, bias, out, height * width, depth, layer.out);
    return out;
  };
  return { run, size: out.length, wide: false };
}

/** Cells with channels-last to planes: each cell's channels are a plane's patch of p x p (or p). */
function unshuffle(layer: Extract<Layer, { op: "unshuffle_out" }>, size: number): Step {
  const { patch, planes } = layer;
  const flat = layer.grid.length === 1;
  const [rows, columns] = flat ? [1, layer.grid[0]!] : [layer.grid[0]!, layer.grid[1]!];
  const [height, width] = flat ? [1, layer.sides[0]!] : [layer.sides[0]!, layer.sides[1]!];
  const tall = flat ? 1 : patch;
  const channels = planes * tall * patch;
  expect("unshuffle_out", rows * columns * channels, size);
  const out = new Float32Array(planes * height * width);
  const run = (x: Numbers) => {
    let to = 0;
    for (let plane = 0; plane < planes; plane++) {
      for (let y = 0; y < height; y++) {
        const row = Math.floor(y / tall);
        for (let c = 0; c < width; c++) {
          const column = Math.floor(c / patch);
          const channel = (plane * tall + (y - row * tall)) * patch + (c - column * patch);
          out[to++] = x[(row * columns + column) * channels + channel]!;
        }
      }
    }
    return out;
  };
  return { run, size: out.length, wide: false };
}

/** The error function to 1.2e-7 (Numerical Recipes, 6.2), which is float32's own precision. */
export function erf(x: number): number {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const polynomial = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277].reduceRight((sum, c) => sum * t + c, 0); // prettier-ignore
  const r = t * Math.exp(-x * x + polynomial);
  return x >= 0 ? 1 - r : r - 1;
}

/** Half to even, as NumPy rounds. */
export function rounded(v: number): number {
  const below = Math.floor(v);
  const rest = v - below;
  return rest < 0.5 ? below : rest > 0.5 ? below + 1 : below % 2 ? below + 1 : below;
}

/** Planes (C, h, w) of 0..levels to pixels (h, w, C) of whole levels. */
export function pixels(planes: Numbers, channels: number, levels: number): Uint8Array | Uint16Array {
  const area = planes.length / channels;
  const out = levels > 255 ? new Uint16Array(planes.length) : new Uint8Array(planes.length);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < area; i++) {
      out[i * channels + c] = Math.min(Math.max(rounded(planes[c * area + i]!), 0), levels);
    }
  }
  return out;
}
