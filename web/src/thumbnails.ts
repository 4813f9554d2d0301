// Small pictures of the items, cut from sheets that are read when they are first needed.

import type { Thumbnails as Info } from "./contract";
import type { Source } from "./source";

const KEPT = 96; // sheets in memory; the ones used longest ago go first

export class Thumbnails {
  private readonly sheets = new Map<number, ImageBitmap | "asked" | "broken">();
  private readonly waiting = new Map<number, Promise<ImageBitmap | null>>();
  /** called when a sheet has come */
  onload: () => void = () => {};

  constructor(
    readonly info: Info,
    private readonly source: Source,
  ) {}

  /** Draws an item's picture; false where its sheet is not there yet (it is asked for). */
  draw(to: CanvasRenderingContext2D, index: number, x: number, y: number, width: number, height: number): boolean {
    const number = Math.floor(index / this.info.per_sheet);
    const sheet = this.sheets.get(number);
    if (sheet === undefined) void this.load(number);
    if (!sheet || typeof sheet === "string") return false;
    this.sheets.delete(number); // the last one used is the last one in the map
    this.sheets.set(number, sheet);
    const at = index % this.info.per_sheet;
    const { width: w, height: t, columns } = this.info;
    to.imageSmoothingEnabled = width < w; // small pictures are smoothed, large ones show their pixels
    to.drawImage(sheet, (at % columns) * w, Math.floor(at / columns) * t, w, t, x, y, width, height);
    return true;
  }

  /** Draws when the sheet is there; false where it cannot be read. */
  async drawn(to: CanvasRenderingContext2D, index: number, width: number, height: number): Promise<boolean> {
    if (this.draw(to, index, 0, 0, width, height)) return true;
    const sheet = await this.load(Math.floor(index / this.info.per_sheet));
    return sheet ? this.draw(to, index, 0, 0, width, height) : false;
  }

  private load(number: number): Promise<ImageBitmap | null> {
    const there = this.waiting.get(number);
    if (there) return there;
    this.sheets.set(number, "asked");
    const coming = this.source
      .blob(`sheet/${number}`)
      .then((bytes) => createImageBitmap(new Blob([bytes as BlobPart])))
      .then((bitmap) => {
        this.sheets.set(number, bitmap);
        this.waiting.delete(number);
        for (const [old, one] of this.sheets) {
          if (this.sheets.size <= KEPT) break;
          if (typeof one === "string") continue;
          one.close();
          this.sheets.delete(old);
        }
        this.onload();
        return bitmap;
      })
      .catch((error) => {
        console.error(error);
        this.sheets.set(number, "broken");
        return null;
      });
    this.waiting.set(number, coming);
    return coming;
  }
}
