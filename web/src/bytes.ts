// Bytes that came over a wire or out of the page: base64, float16, little-endian arrays.

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const raw = atob(text.replace(/\s+/g, ""));
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The bytes in the order of this machine, at an address that a typed array takes. */
function ordered(bytes: Uint8Array, width: number, what: string): ArrayBuffer {
  if (bytes.length % width) throw new Error(`${what}: ${bytes.length} bytes are not a multiple of ${width}`);
  const own = bytes.slice();
  if (!LITTLE) for (let i = 0; i < own.length; i += width) own.subarray(i, i + width).reverse();
  return own.buffer;
}

export const float32s = (bytes: Uint8Array, what = "float32"): Float32Array => new Float32Array(ordered(bytes, 4, what));
export const uint16s = (bytes: Uint8Array, what = "uint16"): Uint16Array => new Uint16Array(ordered(bytes, 2, what));

/** IEEE 754 half precision, little-endian, as float32: every half is exact in it. */
export function float16s(bytes: Uint8Array, what = "float16"): Float32Array {
  const halves = uint16s(bytes, what);
  const wide = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) {
      // zero, or fraction * 2^-24, which float32 holds with an exponent of its own
      if (fraction === 0) wide[i] = sign;
      else {
        const shift = Math.clz32(fraction) - 21;
        wide[i] = sign | ((113 - shift) << 23) | (((fraction << shift) & 1023) << 13);
      }
    } else if (exponent === 31) wide[i] = sign | 0x7f800000 | (fraction << 13);
    else wide[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
  }
  return new Float32Array(wide.buffer);
}
