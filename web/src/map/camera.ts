// Where one looks on the map: a centre in map coordinates and a zoom; equal axes, y upward.

export class Camera {
  x = 0;
  y = 0;
  zoom = 1;
  width = 1;
  height = 1;

  /** CSS pixels to one unit of the map. */
  get scale(): number {
    return (Math.min(this.width, this.height) / 2) * 0.94 * this.zoom;
  }

  toScreen(x: number, y: number): [number, number] {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  toMap(px: number, py: number): [number, number] {
    return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale];
  }

  pan(dx: number, dy: number): void {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
    this.hold();
  }

  /** Zooms by a factor; what is under the given pixel stays there. */
  zoomAt(factor: number, px = this.width / 2, py = this.height / 2): void {
    const [x, y] = this.toMap(px, py);
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.4), 20_000);
    const [nx, ny] = this.toMap(px, py);
    this.x += x - nx;
    this.y += y - ny;
    this.hold();
  }

  fit(): void {
    this.x = this.y = 0;
    this.zoom = 1;
  }

  /** The visible rectangle: left, bottom, right, top. */
  view(): [number, number, number, number] {
    const [left, bottom] = this.toMap(0, this.height);
    const [right, top] = this.toMap(this.width, 0);
    return [left, bottom, right, top];
  }

  private hold(): void {
    this.x = Math.min(Math.max(this.x, -1.2), 1.2);
    this.y = Math.min(Math.max(this.y, -1.2), 1.2);
  }
}
