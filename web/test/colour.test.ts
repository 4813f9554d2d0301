import { describe, expect, it } from "vitest";
import { valueOfText, valueText } from "../src/colour";

const born = { name: "column-0", title: "born", kind: "number" as const, format: "date" as const, zero: 10957 }; // 2000-01-01
const seen = { ...born, format: "datetime" as const };
const clock = { ...born, format: "time" as const, zero: 0 };
const plain = { name: "error", title: "error", kind: "number" as const };

describe("values as text", () => {
  it.each([
    [born, 900, 59, "2000-02-29"],
    [born, 900, -1, "1999-12-31"],
    [seen, 900, 59.5, "2000-02-29"],
    [seen, 20, 0.6041667, "2000-01-01 14:30"],
    [seen, 0.01, 0.6041667, "2000-01-01 14:30:00"],
    [clock, 86400, 52200, "14:30:00"],
    [plain, 9, 1234.5, "1235"],
    [born, 9, NaN, "–"],
  ])("%# %s", (info, wide, v, text) => expect(valueText({ info, least: 0, most: wide }, v)).toBe(text));
});

it("reads what it writes", () => {
  expect(valueOfText(born, "2000-02-29")).toBe(59);
  expect(valueOfText(seen, "2000-01-01 14:30")).toBeCloseTo(0.6041667, 6);
  expect(valueOfText(clock, "14:30")).toBe(52200);
  expect(valueOfText(plain, "−3.5")).toBe(-3.5);
  for (const info of [born, seen, clock]) expect(valueOfText(info, "59")).toBeNaN();
  expect(valueOfText(born, "yesterday")).toBeNaN();
});
