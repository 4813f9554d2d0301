import { describe, expect, it } from "vitest";
import { conditions, looksLikeArithmetic, parse } from "../src/expression";

const read = (text: string) => Object.fromEntries(parse(text).map(({ weight, term }) => [
  term.kind === "item" ? term.index : term.kind === "name" ? term.name : `${term.colour}=${term.level}`, weight])); // prettier-ignore

describe("arithmetic of items", () => {
  it.each([
    ["12 - 40 + 7", { 12: 1, 40: -1, 7: 1 }],
    ["12 − 40 + #7", { 12: 1, 40: -1, 7: 1 }],
    ["0.5 * 12 + 0.5 * #40", { 12: 0.5, 40: 0.5 }],
    ["(1 + 2) / 2 - 'a cat'", { 1: 0.5, 2: 0.5, "a cat": -1 }],
    ["2 * (1 - 2)", { 1: 2, 2: -2 }],
    ["-(3)", { 3: -1 }],
    ["- 3 + 3 * 4", { 3: -1, 4: 3 }],
    ["mean(label = 3) - mean(label=’x’)", { "label=3": 1, "label=’x’": -1 }],
    ["5 - 5 + 2", { 5: 0, 2: 1 }],
    ["1 - (2 - 3)", { 1: 1, 2: -1, 3: 1 }],
  ])("%s", (text, wanted) => expect(read(text)).toEqual(wanted));

  it.each([
    ["", "nothing to compute"],
    ["12 -", "missing at the end"],
    ["12 40", "expected"],
    ["(12", "not closed"],
    ["0.5 + 3", "0.5 is no item"],
    ["#1 * #2", "cannot multiply two items"],
    ["3 / #2", "only divide by a number"],
    ["3 / 0", "divide by zero"],
    ["3 + cat", "cannot read"],
  ])("%s is refused with words", (text, words) => expect(() => parse(text)).toThrow(words));
});

it("tells arithmetic from names", () => {
  for (const text of ["12 - 40 + 7", "#3+#4", "0.5*12", "mean(label=3) - 1", "'a b' - 'c'"]) expect(looksLikeArithmetic(text), text).toBe(true);
  for (const text of ["cat", "img_12.png", "12", "#12", "a cat"]) expect(looksLikeArithmetic(text), text).toBe(false);
});

it("reads conditions", () => {
  expect(conditions("error > 3 and label = 7")).toEqual([
    { colour: "error", op: ">", value: "3" },
    { colour: "label", op: "=", value: "7" },
  ]);
  expect(conditions("price ≤ 2")).toEqual([{ colour: "price", op: "<=", value: "2" }]);
  expect(conditions("12 - 3")).toBeNull();
  expect(conditions("mean(label = 3) - 2")).toBeNull();
});
