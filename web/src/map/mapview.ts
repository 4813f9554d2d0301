// The map on the page: moving, zooming, pointing, the lasso, by pointer and by keys; points below, drawings over them.

import type { App } from "../app";
import { dark, h, quiet, sharp, token } from "../dom";
import { Camera } from "./camera";
import { type Over, type Pictures, drawOver, middles } from "./overlay";
import { CanvasPoints, GlPoints, type Look, type Points } from "./points";

export interface Pointed {
  x: number; // map coordinates
  y: number;
  px: number; // CSS pixels in the map
  py: number;
  item: number; // the item under the pointer, or -1
}

const SLOW = 30; // ms for a whole drawing, from which moving points go another way
const REACH = 9; // CSS pixels within which a point is meant

export class MapView {
  readonly element: HTMLElement;
  readonly camera = new Camera();
  readonly points: Points;
  readonly over: Over = { lasso: [], cross: null, pictures: "auto", names: true };
  tool: "move" | "lasso" = "move";
  /** what the pointer or the keyboard's cross shows; null when it leaves */
  onpoint: (pointed: Pointed | null) => void = () => {};
  /** a click, or Enter at the cross */
  onpick: (pointed: Pointed) => void = () => {};
  onmove: () => void = () => {};
  ontool: () => void = () => {};
  /** points while they move, where WebGL is slower than a plain canvas: without a graphics card it is */
  private quick: { canvas: HTMLCanvasElement; points: CanvasPoints } | null = null;
  private readonly base: HTMLCanvasElement;
  private readonly top: HTMLCanvasElement;
  private toTop: CanvasRenderingContext2D;
  private asked = false;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private hurry = false;
  private readonly pointers = new Map<number, [number, number]>();
  private down: { x: number; y: number; moved: boolean; drags: boolean } | null = null;

  constructor(private readonly app: App) {
    this.base = h("canvas", { class: "points", "aria-hidden": "true" });
    this.top = h("canvas", { class: "over", "aria-hidden": "true" });
    const gl = new URLSearchParams(location.search).has("canvas") ? null : GlPoints.on(this.base);
    if (!gl && this.base.getContext("webgl2")) this.base = h("canvas", { class: "points", "aria-hidden": "true" });
    this.points = gl ?? new CanvasPoints(this.base);
    this.toTop = this.top.getContext("2d")!;
    this.element = h(
      "div",
      {
        class: "map", tabindex: 0, role: "application", "aria-label":
          `Map of ${app.opened.n} items. Arrow keys move a cross and show what the model makes there, Enter selects the ` +
          "nearest item, plus and minus zoom, question mark lists all keys.",
      },
      this.base,
      this.top,
    ); // prettier-ignore
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.element);
    app.on("map", () => {
      this.points.place(app.points);
      this.quick?.points.place(app.points);
      this.dress();
    });
    app.on(["colour", "filter", "spread", "theme"], () => this.dress());
    app.on(["selected", "chosen", "slots", "labels", "marks"], () => this.ask());
    if (app.thumbnails) app.thumbnails.onload = () => this.ask();
  }

  get radius(): number {
    const base = Math.min(Math.max(8.2 - 1.35 * Math.log10(Math.max(this.app.opened.n, 1)), 0.9), 5);
    return Math.min(base * Math.max(this.camera.zoom, 0.5) ** 0.3, 9);
  }

  private dress(): void {
    if (!this.app.points.length) return;
    const night = dark();
    const look: Look = { colour: (i) => this.app.colourOf(i, night), shape: (i) => this.app.shapeOf(i), sure: (i) => this.app.sureOf(i), shown: this.app.shown };
    this.points.dress(look);
    this.quick?.points.dress(look);
    this.ask();
  }

  private hasten(): void {
    const canvas = h("canvas", { class: "points", "aria-hidden": "true", hidden: true, width: this.base.width, height: this.base.height });
    this.base.after(canvas);
    this.quick = { canvas, points: new CanvasPoints(canvas) };
    this.quick.points.place(this.app.points);
    this.dress();
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.base.width = Math.round(width * ratio);
    this.base.height = Math.round(height * ratio);
    if (this.quick) Object.assign(this.quick.canvas, { width: this.base.width, height: this.base.height });
    this.toTop = sharp(this.top, width, height);
    Object.assign(this.camera, { width, height });
    this.draw();
  }

  /** Draws at the next frame. */
  ask(moving = false): void {
    if (moving) {
      this.hurry = true;
      clearTimeout(this.resting);
      this.resting = setTimeout(() => {
        this.hurry = false;
        this.ask();
        this.onmove();
      }, this.quick ? 300 : 140);
    }
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  private draw(): void {
    if (!this.app.points.length) return;
    const quick = this.hurry ? this.quick : null;
    (quick?.points ?? this.points).draw(this.camera, this.radius, this.hurry);
    if (this.quick) {
      this.quick.canvas.hidden = !quick;
      this.base.style.visibility = quick ? "hidden" : "";
    } else if (this.points instanceof GlPoints && (this.points.took ?? 0) > SLOW) this.hasten();
    drawOver(this.toTop, this.app, this.camera, this.over);
  }

  // ---- moving ----------------------------------------------------------------------------------------------------

  zoom(factor: number): void {
    this.camera.zoomAt(factor);
    this.ask(true);
  }

  fit(): void {
    this.camera.fit();
    this.ask(true);
  }

  /** Brings a place into view, as little as needed. */
  reveal(x: number, y: number): void {
    const [px, py] = this.camera.toScreen(x, y);
    const { width, height } = this.camera;
    if (px > 30 && py > 30 && px < width - 30 && py < height - 30) return;
    this.camera.x = x;
    this.camera.y = y;
    this.ask(true);
  }

  setTool(tool: "move" | "lasso"): void {
    this.tool = tool;
    this.element.classList.toggle("lasso", tool === "lasso");
    this.ontool();
  }

  setPictures(pictures: Pictures): void {
    this.over.pictures = pictures;
    this.ask();
  }

  /** The items that are in view and not filtered away. */
  inView(): number[] {
    return this.app.grid.within(...this.camera.view()).filter((i) => this.app.shown[i]);
  }

  pointedAt(px: number, py: number, reach = REACH): Pointed {
    const [x, y] = this.camera.toMap(px, py);
    const [near] = this.app.grid.nearest(x, y, 1, (i) => this.app.shown[i] === 1);
    return { x, y, px, py, item: near && near.distance * this.camera.scale <= reach ? near.index : -1 };
  }

  // ---- the pointer -----------------------------------------------------------------------------------------------

  private listen(): void {
    const element = this.element;
    const at = (event: PointerEvent | WheelEvent): [number, number] => {
      const box = element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    element.addEventListener("wheel", (event) => {
      if (event.target !== this.top) return; // the legend scrolls
      event.preventDefault();
      this.camera.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...at(event));
      this.ask(true);
    }, { passive: false }); // prettier-ignore
    element.addEventListener("pointerdown", (event) => {
      if (event.button || event.target !== this.top) return;
      element.setPointerCapture(event.pointerId);
      const [x, y] = at(event);
      this.pointers.set(event.pointerId, [x, y]);
      this.down = { x, y, moved: this.pointers.size > 1, drags: this.onSelected(x, y) };
      if (this.tool === "lasso" || event.altKey) this.over.lasso = this.camera.toMap(x, y);
    });
    element.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      const before = this.pointers.get(event.pointerId);
      if (!before || !this.down) {
        if (event.pointerType !== "touch" && event.target === this.top) this.point(x, y);
        return;
      }
      if (Math.hypot(x - this.down.x, y - this.down.y) > 4) this.down.moved = true;
      if (this.pointers.size === 2) this.pinch(event.pointerId, x, y);
      else if (this.over.lasso.length) {
        this.over.lasso.push(...this.camera.toMap(x, y));
        this.ask();
      } else if (this.down.drags) this.carry(event);
      else if (this.down.moved) {
        this.camera.pan(x - before[0], y - before[1]);
        this.ask(true);
        this.onpoint(null);
      }
      this.pointers.set(event.pointerId, [x, y]);
    });
    const up = (event: PointerEvent) => {
      const down = this.down;
      const last = this.pointers.size === 1;
      if (!this.pointers.delete(event.pointerId) || !down || !last) return;
      this.down = null;
      if (this.over.lasso.length) {
        const polygon = this.over.lasso;
        this.over.lasso = [];
        this.setTool("move");
        if (down.moved) this.app.choose(this.app.grid.inside(polygon).filter((i) => this.app.shown[i]));
        this.ask();
      } else if (down.drags && down.moved) this.drop(event);
      else if (!down.moved && event.type === "pointerup") this.onpick(this.pointedAt(...at(event), event.pointerType === "touch" ? 20 : REACH));
    };
    element.addEventListener("pointerup", up);
    element.addEventListener("pointercancel", up);
    element.addEventListener("pointerleave", () => this.onpoint(null));
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("blur", () => {
      if (!this.over.cross) return;
      this.over.cross = null;
      this.ask();
    });
  }

  private point(x: number, y: number): void {
    if (!this.app.points.length) return;
    if (this.over.cross) {
      this.over.cross = null;
      this.ask();
    }
    this.onpoint(this.pointedAt(x, y));
  }

  private pinch(id: number, x: number, y: number): void {
    const other = [...this.pointers].find(([key]) => key !== id)![1];
    const before = this.pointers.get(id)!;
    const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
    const is = Math.hypot(x - other[0], y - other[1]);
    this.camera.pan((x - before[0]) / 2, (y - before[1]) / 2);
    if (was > 0) this.camera.zoomAt(is / was, (x + other[0]) / 2, (y + other[1]) / 2);
    this.ask(true);
  }

  // ---- carrying the selected item to a slot ----------------------------------------------------------------------

  private onSelected(x: number, y: number): boolean {
    const i = this.app.selected;
    if (i < 0) return false;
    const [px, py] = this.camera.toScreen(this.app.points[2 * i]!, this.app.points[2 * i + 1]!);
    return Math.hypot(px - x, py - y) < 11;
  }

  private carry(event: PointerEvent): void {
    document.body.style.cursor = "grabbing";
    for (const slot of document.querySelectorAll(".slot")) slot.classList.toggle("over", slot === this.slotUnder(event));
  }

  private slotUnder(event: PointerEvent): Element | null {
    return document.elementFromPoint(event.clientX, event.clientY)?.closest(".slot") ?? null;
  }

  private drop(event: PointerEvent): void {
    document.body.style.cursor = "";
    const slot = this.slotUnder(event);
    for (const one of document.querySelectorAll(".slot")) one.classList.remove("over");
    if (slot instanceof HTMLElement) this.app.put(Number(slot.dataset["slot"]), this.app.selected);
  }

  // ---- keys ------------------------------------------------------------------------------------------------------

  private key(event: KeyboardEvent): void {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (arrow) {
      event.preventDefault();
      const [dx, dy] = arrow as [number, number];
      if (event.shiftKey) {
        this.camera.pan(-dx * 60, dy * 60);
        this.ask(true);
        return;
      }
      const [x, y] = this.over.cross ?? [this.camera.x, this.camera.y];
      const step = 12 / this.camera.scale;
      this.over.cross = [x + dx * step, y + dy * step];
      this.reveal(...this.over.cross);
      this.ask();
      this.onpoint(this.pointedAt(...this.camera.toScreen(...this.over.cross)));
      this.tell();
    } else if (event.key === "Enter" && this.over.cross) {
      event.preventDefault();
      this.onpick(this.pointedAt(...this.camera.toScreen(...this.over.cross), 40));
    } else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.fit();
  }

  /** For those who do not see the cross: what it is near, once it rests. */
  private readonly tell = quiet(500, () => {
    if (!this.over.cross) return;
    const { item } = this.pointedAt(...this.camera.toScreen(...this.over.cross), 40);
    this.app.say(item < 0 ? "cross at an empty place" : `cross near ${this.app.titleOf(item)}, ${this.app.colouring?.info.title ?? ""} ${this.app.valueOf(item)}`);
  });

  // ---- files -----------------------------------------------------------------------------------------------------

  /** The map as it stands, points and drawings, on a ground of its own. */
  picture(): HTMLCanvasElement {
    const canvas = h("canvas", { width: this.base.width, height: this.base.height });
    const to = canvas.getContext("2d")!;
    to.fillStyle = token("--map");
    to.fillRect(0, 0, canvas.width, canvas.height);
    this.points.draw(this.camera, this.radius, false); // the buffer is only sure to hold it until this task ends
    to.drawImage(this.base, 0, 0);
    drawOver(this.toTop, this.app, this.camera, this.over);
    to.drawImage(this.top, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  /** The visible points with their colours, for a drawing. */
  *visible(): Generator<[number, number, string]> {
    const night = dark();
    for (const i of this.inView()) {
      const [x, y] = this.camera.toScreen(this.app.points[2 * i]!, this.app.points[2 * i + 1]!);
      yield [x, y, this.app.cssOf(i, night)];
    }
  }

  names(): { x: number; y: number; text: string }[] {
    return middles(this.app).map(({ name, x, y }) => {
      const [px, py] = this.camera.toScreen(x, y);
      return { x: px, y: py, text: name };
    });
  }
}
