// The points of the map: by WebGL where the browser has it, else on a plain canvas. Both draw in one random order, so
// that no class hides another because it comes last, and so that any beginning of it is a fair sample.

import type { Camera } from "./camera";
import type { Rgb } from "../colour";

export interface Look {
  /** colour of an item */
  colour(index: number): Rgb;
  shape(index: number): number;
  /** 0..1, how sure what the colour says is */
  sure(index: number): number;
  shown: Uint8Array;
}

export interface Points {
  readonly kind: "webgl" | "canvas";
  place(points: Float32Array): void;
  dress(look: Look): void;
  draw(camera: Camera, radius: number, hurry: boolean): void;
}

export const FAINT = 26; // of 255: what a filter leaves out stays as a shadow

/** A fixed shuffle of 0..n-1 (xorshift): the same page draws the same picture. */
export function shuffled(n: number): Uint32Array {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  let s = 2463534242;
  for (let i = n - 1; i > 0; i--) {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    const j = (s >>> 0) % (i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

/** Colour, opacity and shape of all points in the order of drawing: r, g, b, a, shape for each. */
export function dressed(order: Uint32Array, look: Look): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(order.length * 8);
  for (let o = 0, at = 0; o < order.length; o++, at += 8) {
    const i = order[o]!;
    const [r, g, b] = look.colour(i);
    out[at] = r;
    out[at + 1] = g;
    out[at + 2] = b;
    out[at + 3] = look.shown[i] ? 40 + 170 * look.sure(i) : FAINT;
    out[at + 4] = look.shape(i);
  }
  return out;
}

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour; in float shape;
uniform vec2 centre; uniform vec2 scale; uniform float size;
out vec4 tint; flat out float form;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = shape > 0.5 ? size * 1.25 : size;
  tint = colour; form = shape;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 tint; flat in float form; uniform float size; out vec4 result;
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0;
  float soft = 2.0 / max(size, 2.0);
  float r = length(p);
  float cover = 1.0 - smoothstep(1.0 - soft, 1.0, r);
  if (size > 4.0) {
    if (form > 0.5 && form < 1.5) cover *= smoothstep(0.45 - soft, 0.45, r);
    else if (form > 1.5 && form < 2.5) cover = 1.0 - smoothstep(0.8 - soft, 0.8, max(abs(p.x), abs(p.y)));
    else if (form > 2.5) cover = 1.0 - smoothstep(0.3, 0.3 + soft, min(abs(p.x), abs(p.y)));
  }
  float a = tint.a * cover;
  result = vec4(tint.rgb * a, a);
}`;

export class GlPoints implements Points {
  readonly kind = "webgl";
  private order: Uint32Array = new Uint32Array(0);
  private readonly at: WebGLBuffer;
  private readonly looks: WebGLBuffer;
  private readonly set: Record<"centre" | "scale" | "size", WebGLUniformLocation>;
  /** How long the last whole drawing took, in ms, waited for; null before the first. */
  took: number | null = null;

  /** null where the browser gives no WebGL 2. */
  static on(canvas: HTMLCanvasElement): GlPoints | null {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
    try {
      return gl && new GlPoints(canvas, gl);
    } catch (error) {
      console.error(error);
      return null;
    }
  }

  private constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
  ) {
    const program = gl.createProgram()!;
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "colour");
    gl.bindAttribLocation(program, 2, "shape");
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "no shader");
    gl.useProgram(program);
    const uniform = (name: string) => gl.getUniformLocation(program, name)!;
    this.set = { centre: uniform("centre"), scale: uniform("scale"), size: uniform("size") };
    this.at = gl.createBuffer()!;
    this.looks = gl.createBuffer()!;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.at);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 8, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.looks);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 8, 0);
    gl.enableVertexAttribArray(2);
    gl.vertexAttribPointer(2, 1, gl.UNSIGNED_BYTE, false, 8, 4);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  place(points: Float32Array): void {
    const n = points.length / 2;
    if (n !== this.order.length) this.order = shuffled(n);
    const sorted = new Float32Array(points.length);
    for (let o = 0; o < n; o++) {
      sorted[2 * o] = points[2 * this.order[o]!]!;
      sorted[2 * o + 1] = points[2 * this.order[o]! + 1]!;
    }
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.at);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, sorted, this.gl.STATIC_DRAW);
    this.took = null;
  }

  dress(look: Look): void {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.looks);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, dressed(this.order, look), this.gl.DYNAMIC_DRAW);
  }

  draw(camera: Camera, radius: number): void {
    const { gl, canvas } = this;
    const ratio = canvas.width / camera.width;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.set.centre, camera.x, camera.y);
    gl.uniform2f(this.set.scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
    gl.uniform1f(this.set.size, 2 * radius * ratio);
    const start = performance.now();
    gl.drawArrays(gl.POINTS, 0, this.order.length);
    if (this.took !== null) return;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // returns when all is drawn
    this.took = performance.now() - start;
  }
}

/** Squares on a plain canvas, pixel by pixel: no soft edges, no shapes, but quick enough to move. */
export class CanvasPoints implements Points {
  readonly kind = "canvas";
  private order: Uint32Array = new Uint32Array(0);
  private points: Float32Array = new Float32Array(0);
  private looks: Uint8Array = new Uint8Array(0);
  private afford = 150_000; // points of a frame in a hurry

  constructor(private readonly canvas: HTMLCanvasElement) {}

  place(points: Float32Array): void {
    if (points.length / 2 !== this.order.length) this.order = shuffled(points.length / 2);
    this.points = points;
  }

  dress(look: Look): void {
    this.looks = dressed(this.order, look);
  }

  draw(camera: Camera, radius: number, hurry: boolean): void {
    const { width, height } = this.canvas;
    const to = this.canvas.getContext("2d")!;
    const ratio = width / camera.width;
    const picture = to.createImageData(width, height);
    const side = Math.max(1, Math.round(1.4 * radius * ratio));
    const scale = camera.scale * ratio;
    const count = hurry ? Math.min(this.order.length, this.afford) : this.order.length;
    const start = performance.now();
    const data = picture.data;
    for (let o = 0, at = 0; o < count; o++, at += 8) {
      const i = this.order[o]!;
      const x = Math.round(width / 2 + (this.points[2 * i]! - camera.x) * scale - side / 2);
      const y = Math.round(height / 2 - (this.points[2 * i + 1]! - camera.y) * scale - side / 2);
      if (x < 0 || y < 0 || x + side > width || y + side > height) continue;
      const alpha = this.looks[at + 3]!;
      for (let r = y; r < y + side; r++) {
        for (let p = 4 * (r * width + x), end = p + 4 * side; p < end; p += 4) {
          if (alpha === FAINT && data[p + 3]! >= FAINT) continue;
          data[p] = this.looks[at]!;
          data[p + 1] = this.looks[at + 1]!;
          data[p + 2] = this.looks[at + 2]!;
          data[p + 3] = alpha;
        }
      }
    }
    to.putImageData(picture, 0, 0);
    if (!hurry || count < 1000) return;
    const each = (performance.now() - start) / count;
    this.afford = Math.max(10_000, Math.round(15 / Math.max(each, 1e-6))); // most of a 60 Hz frame
  }
}
