// Decodes in a thread of its own. In: {start: [info, weights, latents, item]}, then {id, code}. Out: {id, view}.

import { type Decode, decoderOf } from "./made";

let decode: Decode | null = null;

self.onmessage = (event: MessageEvent) => {
  const { start, id, code } = event.data;
  try {
    if (start) {
      decode = decoderOf(start[0], start[1], start[2], start[3]);
      self.postMessage({ started: true });
    } else self.postMessage({ id, view: decode!(code) });
  } catch (error) {
    self.postMessage({ id, error: String((error as Error).message ?? error), started: start ? false : undefined });
  }
};
