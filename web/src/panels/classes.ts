// What the model takes for the average of each kind: the decoded mean of the codes of its items.

import type { App } from "../app";
import type { ColourInfo } from "../contract";
import { kindColour } from "../colour";
import { dark, fill, h } from "../dom";
import { shown } from "../show";

const MOST = 40;

export function classesPanel(app: App): HTMLElement {
  const grid = h("div", { class: "templates" });
  const choice = h("select", { "aria-label": "kinds", onchange: () => void show() });
  let run = 0;

  const kinds = () => app.allColours.filter((c) => c.kind === "category");

  const choices = () => {
    const list = kinds();
    const kept = choice.value;
    fill(choice, list.map((c) => h("option", { value: c.name }, c.title)));
    if (list.some((c) => c.name === kept)) choice.value = kept;
    else if (app.colouring?.info.kind === "category") choice.value = app.colouring.info.name;
    void show();
  };

  const show = async () => {
    const mine = ++run;
    const info: ColourInfo | undefined = kinds().find((c) => c.name === choice.value);
    choice.hidden = kinds().length < 2;
    if (!info || !app.codes || !app.decoder) {
      fill(grid, h("p", { class: "hint" }, info ? "on their way" : "This data has no column of kinds. Name some points in Label: your own kinds are averaged here too."));
      return;
    }
    if (app.decoder.why !== null) {
      fill(grid, h("p", { class: "hint" }, app.decoder.why));
      return;
    }
    const { values } = await app.values(info.name);
    const levels = info.levels ?? [];
    const means = app.codes.means(values, Math.min(levels.length, MOST));
    const wide = app.opened.item.kind !== "image";
    const made: HTMLElement[] = [];
    for (const [level, { code, count }] of means.entries()) {
      if (!count) continue;
      const view = await app.decoder.decode(code.slice());
      if (mine !== run) return;
      const name = levels[level]!;
      made.push(
        h("button", { type: "button", class: wide ? "template wide" : "template", "aria-label": `the average of ${info.title} ${name}`, onclick: () => {
          app.selected = -1;
          app.emit("selected");
          const variable = app.variable(info.name);
          app.take(code, `the average of ${info.title} ${name}`, `Z[${variable} == ${JSON.stringify(name)}].mean(0)`);
          app.mark([], app.placeOf(code));
          app.python(`model.decode(Z[${variable} == ${JSON.stringify(name)}].mean(0, keepdims=True))`);
        } },
          !wide && shown(view, app.opened.item, 84, `the average ${name}`),
          h("span", { class: "name" }, h("i", { class: "dot", style: { background: kindColour(level, dark()) } }), name),
          h("small", null, `${count} items`),
          wide && shown(view, app.opened.item, 320, `the average ${name}`)),
      ); // prettier-ignore
      if (made.length % 4 === 0) fill(grid, made);
    }
    fill(grid, made, levels.length > MOST && h("p", { class: "quiet" }, `the first ${MOST} of ${levels.length} kinds`));
  };

  const panel = h("div", { class: "panel classes" },
    h("header", { class: "title" }, h("h2", null, "Averages"), h("p", { class: "facts" }, "The mean code of each kind, decoded. Press one to take it into the sliders.")),
    choice, grid); // prettier-ignore
  // the averages of many items take a moment: they are made when they are first looked at
  let seen = false;
  new IntersectionObserver((entries) => {
    if (seen || !entries.some((e) => e.isIntersecting)) return;
    seen = true;
    choices();
  }).observe(panel);
  app.on(["spread", "codes", "theme"], () => seen && choices());
  return panel;
}
