// A slider for each latent, the most important first; what they make, live.

import type { App } from "../app";
import { pythonCode } from "../app";
import { latest } from "../decoder/decoder";
import { short } from "../colour";
import { button, fill, h } from "../dom";
import { shown } from "../show";

const FEW = 12;

export function latentsPanel(app: App): HTMLElement {
  const { latents } = app.opened;
  const size = app.opened.model.latent_dim;
  const made = h("div", { class: "figures" });
  const title = h("p", { class: "facts" });
  const list = h("div", { class: "sliders" });
  let code = new Float32Array(size);
  let began = new Float32Array(size);
  let all = latents.length <= FEW;
  const sliders = new Map<number, { input: HTMLInputElement; value: HTMLElement }>();

  const show = latest(async (moved: boolean) => {
    const off = app.density?.off(code) ?? false;
    const place = moved ? app.placeOf(code) : null;
    if (place) app.mark(app.marks.path, place);
    if (app.decoder?.why === null) {
      const view = await app.decoder.decode(code.slice());
      fill(made, h("figure", null, shown(view, app.opened.item, view.kind === "image" ? 168 : 340, "what these latents make"),
        h("figcaption", null, off ? h("span", { class: "warning" }, "off the map of the data") : "made by the model"))); // prettier-ignore
    } else if (app.decoder) fill(made, h("p", { class: "quiet" }, app.decoder.why ?? ""));
  });

  const moved = (index: number, v: number) => {
    code = code.slice();
    code[index] = v;
    sliders.get(index)!.value.textContent = short(v);
    show(true);
  };

  const settled = (index: number, v: number) => {
    app.python(`z = ${app.hand?.python ?? "np.zeros(" + size + ', dtype="float32")'}.copy(); z[${index}] = ${Number(v.toPrecision(4))}; model.decode(z[None])`);
  };

  const build = () => {
    sliders.clear();
    const most = Math.max(...latents.map((l) => l.share ?? 0), 1e-12);
    fill(
      list,
      (all ? latents : latents.slice(0, FEW)).map((latent) => {
        const margin = 0.25 * (latent.high - latent.low || 1);
        const input = h("input", {
          type: "range", min: latent.low - margin, max: latent.high + margin, step: "any", "aria-label": latent.title,
          oninput: () => moved(latent.index, Number(input.value)), onchange: () => settled(latent.index, Number(input.value)),
          ondblclick: () => { input.value = String(began[latent.index]); moved(latent.index, began[latent.index]!); },
        }); // prettier-ignore
        input.value = String(code[latent.index]);
        const value = h("output", null, short(code[latent.index]!));
        sliders.set(latent.index, { input, value });
        const share = latent.share === null ? "" : `${(100 * latent.share).toFixed(latent.share < 0.0995 ? 1 : 0)} %`;
        return h("label", { class: "slider", title: latent.meaning ?? "" },
          h("span", { class: "name" }, latent.title, latent.meaning && h("small", null, ` ${latent.meaning}`)),
          h("span", { class: "share", title: "share of what the codes explain" }, h("i", { style: { width: `${(100 * (latent.share ?? 0)) / most}%` } }), h("span", null, share)),
          input, value); // prettier-ignore
      }),
      latents.length > FEW && button(all ? `the ${FEW} most important` : `all ${latents.length}`, () => {
        all = !all;
        build();
      }, { class: "link" }), // prettier-ignore
    );
  };

  const take = (given: Float32Array, from: string) => {
    code = given.slice();
    began = given.slice();
    fill(title, `from ${from}; double-click a slider to put it back`);
    for (const [index, { input, value }] of sliders) {
      input.value = String(code[index]);
      value.textContent = short(code[index]!);
    }
    show(false);
  };

  const average = () => {
    if (!app.codes) return;
    const stride = Math.max(1, Math.floor(app.codes.n / 20_000));
    const some = Array.from({ length: Math.ceil(app.codes.n / stride) }, (_, i) => i * stride);
    app.selected = -1;
    app.emit("selected");
    app.take(app.codes.mean(some), "the average of all items", "Z.mean(0)");
  };

  app.on("code", () => app.hand && take(app.hand.code, app.hand.title));
  app.on("codes", () => {
    if (!app.hand) take(app.codes!.mean(Array.from({ length: Math.min(app.codes!.n, 5000) }, (_, i) => i)), "the average of some items");
  });
  app.on("theme", () => show(false));
  build();
  return h(
    "div",
    { class: "panel latents" },
    h("header", { class: "title" }, h("h2", null, "Latents"), title),
    made,
    h("div", { class: "row" },
      button("the average item", average),
      button("keep as Python", () => app.python(`z = np.array(${pythonCode(code)}, dtype="float32"); model.decode(z[None])`)),
    ),
    list,
  ); // prettier-ignore
}
