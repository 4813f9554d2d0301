// Points of the map in square cells, so that what is near a place is found without looking at all of them.

export interface Near {
  index: number;
  distance: number;
}

export class Grid {
  private readonly side: number;
  private readonly start: Uint32Array;
  private readonly order: Uint32Array;
  private readonly left: number;
  private readonly bottom: number;
  private readonly cell: number;

  constructor(readonly points: Float32Array) {
    const n = points.length / 2;
    let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      left = Math.min(left, points[2 * i]!);
      right = Math.max(right, points[2 * i]!);
      bottom = Math.min(bottom, points[2 * i + 1]!);
      top = Math.max(top, points[2 * i + 1]!);
    }
    if (!n) [left, right, bottom, top] = [-1, 1, -1, 1];
    this.left = left;
    this.bottom = bottom;
    this.side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(n / 4))));
    this.cell = Math.max(right - left, top - bottom, 1e-9) / this.side;
    this.start = new Uint32Array(this.side * this.side + 1);
    this.order = new Uint32Array(n);
    const cells = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      cells[i] = this.row(points[2 * i + 1]!) * this.side + this.column(points[2 * i]!);
      this.start[cells[i]! + 1]!++;
    }
    for (let c = 0; c < this.side * this.side; c++) this.start[c + 1]! += this.start[c]!;
    const next = this.start.slice();
    for (let i = 0; i < n; i++) this.order[next[cells[i]!]!++] = i;
  }

  private column(x: number): number {
    return Math.min(this.side - 1, Math.max(0, Math.floor((x - this.left) / this.cell)));
  }

  private row(y: number): number {
    return Math.min(this.side - 1, Math.max(0, Math.floor((y - this.bottom) / this.cell)));
  }

  /** The `count` points nearest to a place, the nearest first: ring after ring of cells. */
  nearest(x: number, y: number, count: number, take?: (index: number) => boolean): Near[] {
    const best: Near[] = [];
    const column = this.column(x);
    const row = this.row(y);
    for (let ring = 0; ring <= this.side; ring++) {
      // What lies in this ring or beyond is at least this far away.
      const reach = this.clear(x, y, column, row, ring);
      if (best.length === count && best.at(-1)!.distance <= reach) break;
      for (let r = row - ring; r <= row + ring; r++) {
        if (r < 0 || r >= this.side) continue;
        const edge = r === row - ring || r === row + ring;
        for (let c = column - ring; c <= column + ring; c += edge || ring === 0 ? 1 : 2 * ring) {
          if (c < 0 || c >= this.side) continue;
          for (let at = this.start[r * this.side + c]!; at < this.start[r * this.side + c + 1]!; at++) {
            const index = this.order[at]!;
            const distance = Math.hypot(this.points[2 * index]! - x, this.points[2 * index + 1]! - y);
            if ((best.length === count && distance >= best.at(-1)!.distance) || (take && !take(index))) continue;
            let place = best.length;
            while (place > 0 && best[place - 1]!.distance > distance) place--;
            best.splice(place, 0, { index, distance });
            if (best.length > count) best.pop();
          }
        }
      }
    }
    return best;
  }

  /** How far from (x, y) the nearest cell that the rings before this one do not cover may be. */
  private clear(x: number, y: number, column: number, row: number, ring: number): number {
    if (ring === 0) return 0;
    const { left, bottom, cell, side } = this;
    return Math.min(
      column - ring < 0 ? Infinity : x - (left + (column - ring + 1) * cell),
      column + ring >= side ? Infinity : left + (column + ring) * cell - x,
      row - ring < 0 ? Infinity : y - (bottom + (row - ring + 1) * cell),
      row + ring >= side ? Infinity : bottom + (row + ring) * cell - y,
    );
  }

  /** Every point in a rectangle, as indices. */
  within(left: number, bottom: number, right: number, top: number): number[] {
    const found: number[] = [];
    for (let r = this.row(bottom); r <= this.row(top); r++) {
      for (let c = this.column(left); c <= this.column(right); c++) {
        for (let at = this.start[r * this.side + c]!; at < this.start[r * this.side + c + 1]!; at++) {
          const i = this.order[at]!;
          const x = this.points[2 * i]!;
          const y = this.points[2 * i + 1]!;
          if (x >= left && x <= right && y >= bottom && y <= top) found.push(i);
        }
      }
    }
    return found;
  }

  /** How many points the cells over a rectangle hold: a quick upper guess of `within`. */
  crowd(left: number, bottom: number, right: number, top: number): number {
    let count = 0;
    for (let r = this.row(bottom); r <= this.row(top); r++) {
      const from = r * this.side;
      count += this.start[from + this.column(right) + 1]! - this.start[from + this.column(left)]!;
    }
    return count;
  }

  /** The points inside a polygon of map coordinates (x0, y0, x1, y1, …). */
  inside(polygon: number[]): number[] {
    const xs = polygon.filter((_, i) => i % 2 === 0);
    const ys = polygon.filter((_, i) => i % 2 === 1);
    if (xs.length < 3) return [];
    return this.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)).filter((i) => {
      const x = this.points[2 * i]!;
      const y = this.points[2 * i + 1]!;
      let within = false;
      for (let a = 0, b = xs.length - 1; a < xs.length; b = a++) {
        if (ys[a]! > y !== ys[b]! > y && x < ((xs[b]! - xs[a]!) * (y - ys[a]!)) / (ys[b]! - ys[a]!) + xs[a]!) within = !within;
      }
      return within;
    });
  }
}
