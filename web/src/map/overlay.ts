// What lies over the points: names of kinds, pictures of items when one is close, rings, paths, the lasso.

import type { App } from "../app";
import { YOURS } from "../app";
import type { Camera } from "./camera";
import { dark, token } from "../dom";

export type Pictures = "auto" | "always" | "never";

export interface Over {
  lasso: number[]; // map coordinates
  cross: [number, number] | null; // the keyboard's pointer, map coordinates
  pictures: Pictures;
  names: boolean;
}

interface Ink {
  ink: string;
  ground: string;
  accent: string;
}

/** Draws all of it; true where pictures stand for the points. */
export function drawOver(to: CanvasRenderingContext2D, app: App, camera: Camera, over: Over): void {
  to.clearRect(0, 0, camera.width, camera.height);
  const colours: Ink = { ink: token("--ink"), ground: token("--map"), accent: token("--accent") };
  pictures(to, app, camera, over, colours);
  // labels of one's own stand at their items: no second time in the middle
  if (over.names && app.colouring?.info.name !== YOURS) kinds(to, app, camera, colours);
  path(to, app, camera, colours);
  rings(to, app, camera, colours);
  if (over.lasso.length > 2) lasso(to, camera, over.lasso, colours);
  if (over.cross) cross(to, camera.toScreen(...over.cross), colours);
}

const MOST = 4000; // items in view beyond which "auto" draws no pictures
const CLOSE = 22; // pixels to one item, were they spread evenly, from which "auto" draws them

/** Pictures that do not lie over each other: those of low index come first, and so stay while one moves. */
function pictures(to: CanvasRenderingContext2D, app: App, camera: Camera, over: Over, colours: Ink): void {
  const { thumbnails, names, grid } = app;
  if (over.pictures === "never" || !(thumbnails || names)) return;
  const [left, bottom, right, top] = camera.view();
  const crowd = grid.crowd(left, bottom, right, top);
  const room = Math.sqrt((camera.width * camera.height) / Math.max(crowd, 1));
  if (over.pictures === "auto" && (crowd > MOST || room < CLOSE)) return;
  const wide = thumbnails ? Math.min(Math.max(room * 0.8, 22), 72) : 96;
  const tall = thumbnails ? (wide * thumbnails.info.height) / thumbnails.info.width : 15;
  const [stepX, stepY] = [wide + 4, tall + 4];
  const taken = new Map<string, [number, number]>(); // cells as large as a picture hold one each
  // items a little beyond the border count too, so that what is drawn does not change as one moves
  const margin = stepX / camera.scale;
  const near = grid.within(left - margin, bottom - margin, right + margin, top + margin).filter((i) => app.shown[i]);
  near.sort((a, b) => a - b);
  const night = dark();
  for (const i of near) {
    const [x, y] = camera.toScreen(app.points[2 * i]!, app.points[2 * i + 1]!);
    const column = Math.floor(x / stepX);
    const row = Math.floor(y / stepY);
    let free = true;
    for (let r = row - 1; free && r <= row + 1; r++) {
      for (let c = column - 1; free && c <= column + 1; c++) {
        const other = taken.get(`${c} ${r}`);
        if (other && Math.abs(other[0] - x) < stepX && Math.abs(other[1] - y) < stepY) free = false;
      }
    }
    if (!free) continue;
    taken.set(`${column} ${row}`, [x, y]);
    if (!thumbnails) written(to, app.nameOf(i).slice(0, 16), x, y - 9, colours, "11px system-ui, sans-serif");
    else if (thumbnails.draw(to, i, x - wide / 2, y - tall / 2, wide, tall)) {
      to.strokeStyle = app.cssOf(i, night);
      to.lineWidth = 2;
      to.strokeRect(x - wide / 2 - 1, y - tall / 2 - 1, wide + 2, tall + 2);
    }
  }
}

/** The name of each kind at the middle of its items. */
function kinds(to: CanvasRenderingContext2D, app: App, camera: Camera, colours: Ink): void {
  for (const { name, x, y } of middles(app)) {
    const [px, py] = camera.toScreen(x, y);
    if (px < 0 || py < 0 || px > camera.width || py > camera.height) continue;
    written(to, name, px, py, colours, "600 14px system-ui, sans-serif");
  }
}

let kept: { of: unknown; points: unknown; found: { name: string; x: number; y: number }[] } = { of: null, points: null, found: [] };

/** Medians of the places of each kind's items (of a sample, where there are many). */
export function middles(app: App): { name: string; x: number; y: number }[] {
  const c = app.colouring;
  if (!c || c.info.kind !== "category" || (c.info.levels?.length ?? 0) > 40) return [];
  if (kept.of === c.values && kept.points === app.points) return kept.found;
  const stride = Math.max(1, Math.floor(app.opened.n / 40_000));
  const xs: number[][] = [];
  const ys: number[][] = [];
  for (let i = 0; i < app.opened.n; i += stride) {
    const level = c.values[i]!;
    if (level === 65535) continue;
    (xs[level] ??= []).push(app.points[2 * i]!);
    (ys[level] ??= []).push(app.points[2 * i + 1]!);
  }
  const median = (v: number[]) => v.sort((a, b) => a - b)[v.length >> 1]!;
  const found = (c.info.levels ?? []).flatMap((name, level) =>
    xs[level]?.length ? [{ name, x: median(xs[level]!), y: median(ys[level]!) }] : [],
  );
  kept = { of: c.values, points: app.points, found };
  return found;
}

function written(to: CanvasRenderingContext2D, text: string, x: number, y: number, colours: Ink, font: string): void {
  to.font = font;
  to.textAlign = "center";
  to.textBaseline = "middle";
  to.lineJoin = "round";
  to.lineWidth = 4;
  to.strokeStyle = colours.ground;
  to.strokeText(text, x, y);
  to.fillStyle = colours.ink;
  to.fillText(text, x, y);
}

function ring(to: CanvasRenderingContext2D, [x, y]: [number, number], radius: number, width: number, ink: string, ground: string): void {
  to.beginPath();
  to.arc(x, y, radius, 0, 2 * Math.PI);
  to.lineWidth = width + 2;
  to.strokeStyle = ground;
  to.stroke();
  to.lineWidth = width;
  to.strokeStyle = ink;
  to.stroke();
}

function rings(to: CanvasRenderingContext2D, app: App, camera: Camera, colours: Ink): void {
  const at = (i: number) => camera.toScreen(app.points[2 * i]!, app.points[2 * i + 1]!);
  const many = app.chosen.length > 3000 ? app.chosen.filter((_, i) => i % Math.ceil(app.chosen.length / 3000) === 0) : app.chosen;
  to.lineWidth = 1.2;
  to.strokeStyle = colours.accent;
  to.beginPath();
  for (const i of many) {
    const [x, y] = at(i);
    to.moveTo(x + 4.5, y);
    to.arc(x, y, 4.5, 0, 2 * Math.PI);
  }
  to.stroke();
  for (const [i, name] of app.labels) {
    const [x, y] = at(i);
    if (x < -20 || y < -20 || x > camera.width + 20 || y > camera.height + 20) continue;
    ring(to, [x, y], 5, 1.5, colours.ink, colours.ground);
    if (app.labels.size <= 60) written(to, name.slice(0, 16), x, y - 13, colours, "600 11px system-ui, sans-serif");
  }
  app.slots.forEach((i, slot) => {
    if (i === null) return;
    const [x, y] = at(i);
    ring(to, [x, y], 7, 1.5, colours.ink, colours.ground);
    written(to, "ABC"[slot]!, x, y - 15, colours, "700 12px system-ui, sans-serif");
  });
  if (app.marks.at) {
    const place = camera.toScreen(...app.marks.at);
    ring(to, place, 6, 2, colours.accent, colours.ground);
    ring(to, place, 1, 2, colours.accent, colours.ground);
  }
  if (app.selected >= 0) ring(to, at(app.selected), 9, 2.5, colours.accent, colours.ground);
}

function path(to: CanvasRenderingContext2D, app: App, camera: Camera, colours: Ink): void {
  const places = app.marks.path.map((p) => camera.toScreen(...p));
  if (places.length < 2) return;
  for (const [width, ink] of [[4.5, colours.ground], [2, colours.accent]] as const) {
    to.beginPath();
    places.forEach(([x, y], i) => (i ? to.lineTo(x, y) : to.moveTo(x, y)));
    to.lineWidth = width;
    to.lineJoin = "round";
    to.strokeStyle = ink;
    to.stroke();
  }
}

function lasso(to: CanvasRenderingContext2D, camera: Camera, polygon: number[], colours: Ink): void {
  to.beginPath();
  for (let i = 0; i < polygon.length; i += 2) {
    const [x, y] = camera.toScreen(polygon[i]!, polygon[i + 1]!);
    if (i) to.lineTo(x, y);
    else to.moveTo(x, y);
  }
  to.closePath();
  to.globalAlpha = 0.1;
  to.fillStyle = colours.accent;
  to.fill();
  to.globalAlpha = 1;
  to.setLineDash([5, 4]);
  to.lineWidth = 1.5;
  to.strokeStyle = colours.accent;
  to.stroke();
  to.setLineDash([]);
}

function cross(to: CanvasRenderingContext2D, [x, y]: [number, number], colours: Ink): void {
  for (const [width, ink] of [[4, colours.ground], [1.5, colours.ink]] as const) {
    to.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      to.moveTo(x + 4 * dx, y + 4 * dy);
      to.lineTo(x + 13 * dx, y + 13 * dy);
    }
    to.lineWidth = width;
    to.strokeStyle = ink;
    to.stroke();
  }
}
