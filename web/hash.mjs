// Writes the hash of the sources beside the page, so that a test without Node can tell that the page is of today.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const files = readdirSync("src", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`);
files.push("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts");
files.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
const hash = createHash("sha256");
for (const file of files) {
  const content = readFileSync(file);
  hash.update(`${file}\n${content.length}\n`);
  hash.update(content);
}
writeFileSync("../isthmus/view/explorer/page/SOURCES.sha256", `${hash.digest("hex")}\n`);
