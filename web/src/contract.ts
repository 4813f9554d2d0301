// What Python says about a model and its items. The same words stand in isthmus/view/explorer.

export type Item =
  | { kind: "image"; height: number; width: number; channels: number; levels: number }
  | { kind: "vector"; names: string[] | null; size: number }
  | { kind: "series"; channels: number; length: number; names: string[] | null }
  | { kind: "table"; columns: { name: string; kind: string }[]; key?: string | null };

export interface MapInfo {
  name: string;
  title: string;
  exact: boolean;
  /** of an exact map: code = shift + scale * place */
  to_code?: { shift: [number, number]; scale: number };
  python: string;
}

export interface ColourInfo {
  name: string;
  title: string;
  kind: "category" | "number";
  levels?: string[];
  unit?: string;
  /** of moments: values are days since `zero`, itself in days since 1970; of times of day: seconds */
  format?: "date" | "datetime" | "time";
  zero?: number;
  /** the line that makes it, as the variable that `pythonName` tells */
  python?: string;
}

export interface Latent {
  index: number;
  title: string;
  share: number | null;
  low: number;
  high: number;
  meaning: string | null;
}

export interface Mixture {
  kind: "mixture";
  weights: number[];
  means: number[][];
  cholesky: string;
  floor: number;
}

export interface Thumbnails {
  width: number;
  height: number;
  channels: number;
  per_sheet: number;
  columns: number;
  sheets: number;
}

export type Column =
  | {
      name: string;
      kind: "number";
      at: number;
      x: number[];
      y: number[];
      digits: number | null;
      spike?: { from: number; to: number; value: number };
      sinh?: { centre: number; spread: number; mean: number; deviation: number; low: number; high: number };
    }
  | { name: string; kind: "category" | "boolean"; from?: number; to?: number; parts?: [number, number][]; levels: string[] }
  | { name: string; kind: "text"; parts: [number, number][]; bytes: number[] }
  | {
      name: string;
      kind: "datetime";
      at: number;
      x: number[];
      y: number[];
      cycles?: { at: [number, number]; middle: [number, number]; size: [number, number]; period: number }[];
      grain?: number | null;
      format: string;
    }
  | { name: string; kind: "fixed"; value: string | null };

export type Layer =
  | { op: "linear"; in: number; out: number; weight: number; bias: number | null }
  | { op: "silu" | "relu" | "gelu" | "tanh" | "sigmoid" | "softplus" | "step" }
  | { op: "residual"; body: Layer[] }
  | { op: "conv"; sides: number[]; kernel: number; in: number; out: number; weight: number; bias: number | null }
  | { op: "unshuffle_out"; patch: number; grid: number[]; sides: number[]; planes: number }
  | { op: "slice"; from: number; to: number }
  | { op: "affine"; scale: number; shift: number }
  | { op: "affine"; scales: number[]; shifts: number[]; each: number }
  | { op: "clip"; low: number | null; high: number | null; at?: number[] }
  | { op: "round"; at?: number[] }
  | { op: "argmax"; levels: number; size: number }
  | { op: "to_item" }
  | { op: "columns"; columns: Column[] };

export type DecoderInfo =
  | { kind: "plain"; layers: Layer[]; weights: string; dtype?: "float16" | "float32" }
  | { kind: "server"; why: string }
  | null;

export interface Opened {
  version: number;
  title: string;
  static: boolean;
  model: { kind: string; latent_dim: number; hash: string; summary: string[] };
  item: Item;
  n: number;
  names: string | null;
  maps: MapInfo[];
  colours: ColourInfo[];
  latents: Latent[];
  decoder: DecoderInfo;
  density: Mixture | null;
  thumbnails: Thumbnails | null;
  /** lines that load the model and read items and labels; how rows are taken from X */
  python: { load: string; data: string; rows?: "array" | "frame" | "list"; labels?: string; skip?: string; codes?: string };
}

/** How an item is handed over, by Python or by the decoder of this page. */
export type View =
  | { kind: "image"; pixels: string | Uint8Array | Uint16Array }
  | { kind: "numbers"; values: ArrayLike<number> }
  | { kind: "row"; cells: [string, string][]; unknown?: string[] };

export interface ItemAnswer {
  name: string | null;
  input: View | null;
  reconstruction: View | null;
  error: number | null;
  contributions: null | { kind: "image"; values: number[] } | { kind: "columns"; names: string[]; values: number[] };
  row: [string, string][] | null;
  python?: string;
}

export interface LabelAnswer {
  levels: string[];
  labels: Uint16Array;
  confidence: Float32Array;
  error: number | null;
  suggest: number[];
  python?: string;
}

export interface Saved {
  version?: number;
  labels?: Record<string, string>;
  view?: { map?: string; colour?: string | null; centre?: [number, number]; zoom?: number; theme?: string };
}
