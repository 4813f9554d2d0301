// What leaves the page as a file: CSV and SVG as text, PNG from a canvas.

/** One cell: quoted where it must be. A text that a spreadsheet would run as a formula is made harmless. */
export function csvCell(value: string | number): string {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const text = /^[=+\-@\t\r]/.test(value) && !/^-?[\d.]+(e[-+]?\d+)?$/i.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

export const csv = (head: string[], rows: Iterable<(string | number)[]>): string => csvParts(head, rows).join("");

/** In pieces, for a million rows are longer than the longest text. */
export function csvParts(head: string[], rows: Iterable<(string | number)[]>): string[] {
  const parts: string[] = [];
  let text = `${head.map(csvCell).join(",")}\n`;
  for (const row of rows) {
    text += `${row.map(csvCell).join(",")}\n`;
    if (text.length < 1_000_000) continue;
    parts.push(text);
    text = "";
  }
  return [...parts, text];
}

export function xml(text: string): string {
  // Characters that XML cannot hold in any form are left out.
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
    .replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]!);
}

export interface Drawn {
  width: number;
  height: number;
  ground: string;
  ink: string;
  title: string;
  radius: number;
  /** x, y in pixels, colour of each point, in the order of drawing. */
  points: Iterable<[number, number, string]>;
  texts: { x: number; y: number; text: string }[];
  legend: { colour: string; text: string }[];
}

/** The map as a drawing: one path for each colour, so that a large map stays a small file. */
export function svg(drawn: Drawn): string {
  const paths = new Map<string, string[]>();
  for (const [x, y, colour] of drawn.points) {
    const path = paths.get(colour) ?? [];
    path.push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
    paths.set(colour, path);
  }
  const { width, height } = drawn;
  const tall = height + 28 + 18 * Math.ceil(drawn.legend.length / 4);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${tall}" viewBox="0 0 ${width} ${tall}" font-family="system-ui, sans-serif" font-size="12" fill="${xml(drawn.ink)}">`,
    `<title>${xml(drawn.title)}</title>`,
    `<rect width="100%" height="100%" fill="${xml(drawn.ground)}"/>`,
    `<g fill="none" stroke-linecap="round" stroke-width="${2 * drawn.radius}" stroke-opacity="0.75">`,
    ...[...paths].map(([colour, path]) => `<path stroke="${xml(colour)}" d="${path.join("")}"/>`),
    "</g>",
    ...drawn.texts.map(
      (t) =>
        `<text x="${t.x.toFixed(1)}" y="${t.y.toFixed(1)}" text-anchor="middle" font-weight="600" paint-order="stroke" stroke="${xml(drawn.ground)}" stroke-width="3">${xml(t.text)}</text>`,
    ),
    `<text x="10" y="${height + 18}" font-weight="600">${xml(drawn.title)}</text>`,
    ...drawn.legend.map((one, i) => {
      const x = 10 + ((i % 4) * (width - 20)) / 4;
      const y = height + 36 + 18 * Math.floor(i / 4);
      return `<circle cx="${x + 4}" cy="${y - 4}" r="4" fill="${xml(one.colour)}"/><text x="${x + 14}" y="${y}">${xml(one.text)}</text>`;
    }),
    "</svg>",
  ];
  return lines.join("\n");
}

export function saveText(name: string, text: string | string[], type = "text/csv"): void {
  saveBlob(name, new Blob([text].flat(), { type: `${type};charset=utf-8` }));
}

export async function saveCanvas(name: string, canvas: HTMLCanvasElement): Promise<void> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob) saveBlob(name, blob);
}

function saveBlob(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.\- ]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
