// Everything done on the page as lines of Python.

import type { App } from "../app";
import { button, fill, h } from "../dom";

export function pythonPanel(app: App): HTMLElement {
  const lines = h("pre", { class: "lines", tabindex: 0, "aria-label": "lines of Python" });
  const { load, skip, data, codes, labels } = app.opened.python;
  const head = ["import numpy as np", "import isthmus as im", load, skip, data, codes ?? "Z = model.encode(X)", labels].filter(Boolean);
  const all = () => [...head, "", ...app.log].join("\n");
  const show = () => {
    fill(lines, h("span", { class: "quiet" }, `${head.join("\n")}\n\n`), app.log.join("\n"));
    lines.scrollTop = lines.scrollHeight;
  };
  app.on("python", show);
  show();
  return h("div", { class: "panel python" },
    h("header", { class: "title" }, h("h2", null, "Python"), h("p", { class: "facts" }, "What you did here, as code.")),
    h("div", { class: "row" },
      button("copy all", () => copy(app, all())),
      button("copy the last line", () => copy(app, app.log.at(-1) ?? "")),
      button("clear", () => app.clear())),
    lines,
    h("h3", null, "About the model"),
    h("dl", { class: "about" }, h("dt", null, app.opened.model.kind), h("dd", null, `${app.opened.model.latent_dim} latents, ${app.opened.n} items`)),
    h("ul", { class: "summary" }, app.opened.model.summary.map((line) => h("li", null, line)))); // prettier-ignore
}

async function copy(app: App, text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // pages without a secure origin have no clipboard: select a text area by the old way
    const area = h("textarea", { value: text, style: { position: "fixed", opacity: "0" } });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  app.say("copied");
}
