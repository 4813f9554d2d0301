// One file with everything in it, under a policy that names its script and its style by their hash.

import { createHash } from "node:crypto";
import { defineConfig, type Plugin } from "vite";

const sum = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

function oneFile(): Plugin {
  return {
    name: "one-file",
    enforce: "post",
    generateBundle(_, bundle) {
      const page = bundle["index.html"];
      if (page?.type !== "asset") throw new Error("no index.html");
      let html = String(page.source);
      let scripts = "";
      let styles = "";
      for (const [name, part] of Object.entries(bundle)) {
        if (name === "index.html") continue;
        if (part.type === "chunk") scripts += part.code;
        else if (name.endsWith(".css")) styles += String(part.source);
        delete bundle[name];
      }
      // "</script" and the end of the body must not stand in the script, nor "<!--"
      scripts = `\n${scripts.replace(/<\/(script|body)/g, "<\\/$1").replace(/<!--/g, "<\\!--")}`;
      html = html.replace(/\s*<script type="module"[^>]*><\/script>/g, "").replace(/\s*<link rel="stylesheet"[^>]*>/g, "");
      const policy =
        `default-src 'none'; script-src ${sum(scripts)}; style-src ${sum(styles)}; img-src data: blob:; ` +
        "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'";
      html = html
        .replace("</title>", () => `</title>\n    <meta http-equiv="Content-Security-Policy" content="${policy}" />\n    <style>${styles}</style>`)
        .replace("</body>", () => `  <script type="module">${scripts}</script>\n  </body>`);
      page.source = html;
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [oneFile()],
  build: {
    outDir: "../isthmus/view/explorer/page",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: Infinity,
    chunkSizeWarningLimit: 2000,
  },
  worker: { format: "iife" },
});
