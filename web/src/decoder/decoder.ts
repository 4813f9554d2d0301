// One door to decoding, wherever it happens: in a worker, on this thread, or in Python.

import type { Opened, View } from "../contract";
import type { Source } from "../source";
import { float16s, float32s } from "../bytes";
import { decoderOf } from "./made";
import DecodeWorker from "./worker?worker&inline";

export interface Decoder {
  /** null where the model decodes, else why it does not here. */
  readonly why: string | null;
  decode(code: Float32Array): Promise<View>;
}

export async function openDecoder(opened: Opened, source: Source): Promise<Decoder> {
  const info = opened.decoder;
  if (!info) return missing("this model has no decoder");
  if (info.kind === "server") {
    if (opened.static) return missing(`${info.why}; it decodes only while Python serves the page`);
    return { why: null, decode: async (code) => (await source.decode([code]))[0]! };
  }
  const bytes = await source.blob(info.weights);
  const weights = info.dtype === "float16" ? float16s(bytes, "weights") : float32s(bytes, "weights");
  const parts = [info, weights, opened.model.latent_dim, opened.item] as const;
  const worker = await started(parts);
  if (worker) return threaded(worker);
  const decode = decoderOf(...parts);
  return { why: null, decode: async (code) => decode(code) };
}

const missing = (why: string): Decoder => ({ why, decode: () => Promise.reject(new Error(why)) });

/** The worker when it runs; null where the page may have none. A decoder that cannot be read is an error. */
function started(parts: readonly unknown[]): Promise<Worker | null> {
  return new Promise((resolve, reject) => {
    let worker: Worker;
    try {
      worker = new DecodeWorker();
    } catch {
      resolve(null);
      return;
    }
    const late = setTimeout(() => resolve(null), 10_000);
    worker.onerror = () => {
      clearTimeout(late);
      resolve(null);
    };
    worker.onmessage = (event) => {
      clearTimeout(late);
      if (event.data.started) resolve(worker);
      else reject(new Error(event.data.error));
    };
    worker.postMessage({ start: parts });
  });
}

function threaded(worker: Worker): Decoder {
  const waiting = new Map<number, [(view: View) => void, (error: Error) => void]>();
  let next = 0;
  worker.onmessage = (event) => {
    const { id, view, error } = event.data;
    const [resolve, reject] = waiting.get(id) ?? [];
    waiting.delete(id);
    if (error) reject?.(new Error(error));
    else resolve?.(view);
  };
  return {
    why: null,
    decode: (code) =>
      new Promise((resolve, reject) => {
        waiting.set(next, [resolve, reject]);
        worker.postMessage({ id: next++, code });
      }),
  };
}

/** Runs one job at a time and of those that came meanwhile only the last: what follows a pointer or a slider. */
export function latest<T>(job: (given: T) => Promise<void>): (given: T) => void {
  let busy = false;
  let next: [T] | null = null;
  const run = async (given: T) => {
    busy = true;
    try {
      await job(given);
    } catch (error) {
      console.error(error);
    }
    busy = false;
    if (next) {
      const [one] = next;
      next = null;
      void run(one);
    }
  };
  return (given) => {
    if (busy) next = [given];
    else void run(given);
  };
}
