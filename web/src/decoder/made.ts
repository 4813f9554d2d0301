// From a code to a View, by the layers of a decoder: used in the worker, and on the page where there is no worker.

import type { DecoderInfo, Item, View } from "../contract";
import { cells } from "./columns";
import { compile, pixels } from "./interpreter";

export type Decode = (code: Float32Array) => View;

export function decoderOf(
  info: Extract<DecoderInfo, { kind: "plain" }>,
  weights: Float32Array,
  latents: number,
  item: Item,
): Decode {
  const program = compile(info.layers, weights, latents);
  return (code) => {
    const numbers = program.run(code);
    if (program.columns) return { kind: "row", cells: cells(numbers, program.columns) };
    if (item.kind === "image") return { kind: "image", pixels: pixels(numbers, item.channels, item.levels) };
    return { kind: "numbers", values: numbers.slice() };
  };
}
