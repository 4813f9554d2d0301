// The keys, in one list; `?` opens it.

import { button, h } from "../dom";

const KEYS: [string, string][] = [
  ["move the pointer over the map", "what the model would make there, live"],
  ["click", "select the item, or take the place in hand"],
  ["drag, wheel, pinch", "move and zoom; shift with arrows moves too"],
  ["arrow keys", "move a cross over the map: the same as pointing"],
  ["Enter", "select the item nearest to the cross"],
  ["+ − 0", "zoom in, out, all of it"],
  ["l", "draw a lasso (or hold alt and drag)"],
  ["v", "select all that is in view"],
  ["[ ]", "the item before, the item after"],
  ["a b c", "put the selected item into slot A, B, C"],
  ["/", "find: number, name, condition, arithmetic"],
  ["n", "name what is selected"],
  ["1 … 6", "the tabs"],
  ["p", "pictures on the map: when close, always, never"],
  ["t", "dark or light"],
  ["Esc", "let go of the selection"],
  ["?", "this list"],
];

export function helpDialog(): HTMLDialogElement {
  const dialog = h("dialog", { class: "help", "aria-label": "keys" });
  dialog.append(
    h("header", null, h("h2", null, "Keys"), button("close", () => dialog.close())),
    h("dl", null, KEYS.flatMap(([key, words]) => [h("dt", null, key), h("dd", null, words)])),
    h("p", { class: "quiet" }, "A place on the map is given the code of the 8 items nearest to it, the nearer the heavier (or, where the " +
      "map is the latent space itself, its own). “Off the map of the data” means: by the model's prior rarer than 99 of 100 items. " +
      "Nothing on this page leaves this machine."),
  ); // prettier-ignore
  return dialog;
}
