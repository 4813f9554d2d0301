import { describe, expect, it } from "vitest";
import { float16s, float32s, fromBase64, uint16s } from "../src/bytes";
import { KINDS, kindColour, rgb, sequential, short, span } from "../src/colour";
import { csv, csvCell, svg, xml } from "../src/export";
import { dressed, FAINT, shuffled } from "../src/map/points";

describe("bytes", () => {
  const half = (bits: number) => float16s(Uint8Array.from([bits & 255, bits >> 8]))[0]!;

  it.each([
    [0x0000, 0], [0x3c00, 1], [0xc000, -2], [0x3555, 0.333251953125], [0x7bff, 65504], [0x0400, 2 ** -14],
    [0x0001, 2 ** -24], [0x03ff, 1023 * 2 ** -24], [0x8001, -(2 ** -24)], [0x0200, 2 ** -15], [0x7c00, Infinity], [0xfc00, -Infinity],
  ])("half %i is %d", (bits, value) => expect(half(bits)).toBe(value)); // prettier-ignore

  it("every half agrees with its definition", () => {
    const bytes = new Uint8Array(2 * 65536);
    for (let b = 0; b < 65536; b++) bytes.set([b & 255, b >> 8], 2 * b);
    const read = float16s(bytes);
    for (let b = 0; b < 65536; b++) {
      const [sign, exponent, fraction] = [b >> 15 ? -1 : 1, (b >> 10) & 31, b & 1023];
      const wanted = exponent === 31 ? (fraction ? NaN : sign * Infinity) : exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
      if (!Object.is(read[b], wanted)) throw new Error(`half ${b.toString(16)}: ${read[b]} is not ${wanted}`);
    }
    expect(Object.is(half(0x8000), -0)).toBe(true);
  });

  it("little-endian, at any address, whole numbers only", () => {
    const bytes = Uint8Array.from([9, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]).subarray(1);
    expect(Array.from(float32s(bytes))).toEqual([1, -2]);
    expect(Array.from(uint16s(Uint8Array.from([1, 2, 255, 255])))).toEqual([513, 65535]);
    expect(() => float32s(Uint8Array.from([1, 2, 3]), "codes")).toThrow("codes: 3 bytes are not a multiple of 4");
  });

  it("base64, with breaks", () => expect(Array.from(fromBase64("AAH\n/\n"))).toEqual([0, 1, 255]));
});

describe("CSV", () => {
  it("quotes what it must", () => {
    expect(csv(["a", "b,c"], [["x", 'say "hi"'], ["two\nlines", 1.5], ["", NaN]])).toBe('a,"b,c"\nx,"say ""hi"""\n"two\nlines",1.5\n,\n');
  });

  it("lets no text run as a formula, and leaves numbers alone", () => {
    expect(["=1+1", "+1x", "-cmd", "@x", "-5", "-1.5e3", "a=b"].map(csvCell)).toEqual(["'=1+1", "'+1x", "'-cmd", "'@x", "-5", "-1.5e3", "a=b"]);
  });
});

describe("SVG", () => {
  it("escapes what data says", () => {
    expect(xml(`<a href="x">&'\u0001`)).toBe("&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    const text = svg({
      width: 100, height: 50, ground: "#fff", ink: "#000", title: "<script>alert(1)</script>", radius: 2,
      points: [[1, 2, "#111"], [3, 4, "#111"], [5, 6, '"><x>']], texts: [{ x: 1, y: 1, text: "a & b" }], legend: [{ colour: "#111", text: "<b>" }],
    }); // prettier-ignore
    expect(text).not.toMatch(/<script|<b>|<x>/);
    expect(text).toContain("a &amp; b");
    expect(text).toContain('d="M1.0 2.0h0M3.0 4.0h0"');
    expect(text.match(/<path /g)).toHaveLength(2);
  });
});

describe("colours", () => {
  it("kinds are those of Okabe and Ito, and come again after eight", () => {
    expect(KINDS[0]).toBe("#0072B2");
    expect(kindColour(1, false)).toBe("rgb(230 159 0)");
    expect(kindColour(1, true)).toBe("rgb(230 159 0)");
    expect(kindColour(9, false)).toBe("rgb(133 92 0)"); // the same, darker
    expect(kindColour(9, true)).toBe("rgb(241 199 107)"); // and on a dark page lighter
    expect(kindColour(24, false)).toBe(kindColour(0, false));
    expect(new Set(KINDS).size).toBe(8);
  });

  it("numbers grow lighter, on both grounds", () => {
    const light = (t: number, dark: boolean) => sequential(t, dark).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i]!, 0);
    for (const dark of [false, true]) for (let t = 0; t < 1; t += 0.05) expect(light(t + 0.05, dark)).toBeGreaterThan(light(t, dark));
    expect(rgb("#0072B2")).toEqual([0, 114, 178]);
  });

  it("a range leaves out one outlier, and holds what is constant or missing", () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => (i === 500 ? 1e9 : i));
    const told = span(values);
    expect(told.high).toBeLessThan(1000);
    expect(told.most).toBe(1e9);
    expect(span([3, 3, 3])).toMatchObject({ low: 3, high: 4 });
    expect(span([NaN, NaN])).toMatchObject({ low: 0, high: 1 });
  });

  it("numbers are short", () => {
    expect([0, 3, 3.14159, 31.4159, 314.159, 0.00012, -2.5, 123456, NaN].map(short)).toEqual(["0", "3", "3.14", "31.4", "314", "1.2e−4", "−2.50", "123456", "–"]);
  });
});

describe("points", () => {
  it("are drawn in a fixed order that holds each once", () => {
    const order = shuffled(1000);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect([...order.slice(0, 20)]).toEqual([...shuffled(1000).slice(0, 20)]);
    expect(order.slice(0, 100).reduce((a, b) => a + b) / 100).toBeGreaterThan(350); // a fair sample, not the first ones
  });

  it("fade when a filter leaves them out", () => {
    const looks = dressed(Uint32Array.from([1, 0]), { colour: (i) => [i, 2, 3], shape: (i) => i, sure: () => 1, shown: Uint8Array.from([0, 1]) });
    expect(Array.from(looks)).toEqual([1, 2, 3, 210, 1, 0, 0, 0, 0, 2, 3, FAINT, 0, 0, 0, 0]);
  });
});
