// Arithmetic of items as one types it: "12 - 40 + 7", "0.5 * 'cat 3' + 0.5 * #8", "mean(label = 3) - 12".
//
//   sum     = product (("+" | "-") product)*
//   product = signed (("*" | "/") signed)*
//   signed  = "-" signed | atom
//   atom    = "(" sum ")" | item | number
//   item    = "#" digits | whole number that multiplies nothing | 'name' | "mean(" colour "=" level ")"

export type Term =
  | { kind: "item"; index: number }
  | { kind: "name"; name: string }
  | { kind: "mean"; colour: string; level: string };

/** Weights of terms; the same term once. */
export type Sum = { weight: number; term: Term }[];

type Token = { text: string; kind: "number" | "item" | "name" | "mean" | "sign"; at: number };
type Value = { scalar: number; token?: Token } | { sum: Sum };

const PATTERN =
  /\s*(?:(?<mean>mean\(\s*[^()=]+?\s*=\s*[^()]+?\s*\))|(?<item>#\d+)|(?<number>\d+(?:\.\d+)?|\.\d+)|(?<name>'[^']*'|"[^"]*"|“[^”]*”)|(?<sign>[-+*/()−–·×]))/y;

const PLAIN: Record<string, string> = { "−": "-", "–": "-", "·": "*", "×": "*" };

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (text.slice(at).trim()) {
    PATTERN.lastIndex = at;
    const match = PATTERN.exec(text);
    if (!match) throw new Error(`cannot read “${text.slice(at).trim().slice(0, 20)}”: expected an item as 12, #12 or 'name', or + − * / ( )`);
    const [kind, value] = Object.entries(match.groups!).find(([, v]) => v !== undefined)!;
    found.push({ kind: kind as Token["kind"], text: kind === "sign" ? (PLAIN[value] ?? value) : value, at });
    at = PATTERN.lastIndex;
  }
  return found;
}

export function parse(text: string): Sum {
  const list = tokens(text);
  let at = 0;
  const sign = (...wanted: string[]) => {
    const token = list[at];
    if (token?.kind === "sign" && wanted.includes(token.text)) return list[at++]!.text;
    return null;
  };

  const sum = (): Value => {
    let value = product();
    for (let op = sign("+", "-"); op; op = sign("+", "-")) {
      const [a, b] = [asSum(value), asSum(product())];
      value = { sum: [...a, ...scaled(b, op === "+" ? 1 : -1)] };
    }
    return value;
  };

  const product = (): Value => {
    let value = signed();
    for (let op = sign("*", "/"); op; op = sign("*", "/")) {
      const right = signed();
      if (op === "/") {
        if (!("scalar" in right)) throw new Error("can only divide by a number");
        if (right.scalar === 0) throw new Error("cannot divide by zero");
        const by = 1 / right.scalar;
        // "12 / 2" is item 12 halved, "(1 + 2) / 2" a mean of two
        value = "scalar" in value ? { sum: scaled(asSum(value), by) } : { sum: scaled(value.sum, by) };
      } else if ("scalar" in value && "scalar" in right) {
        value = { sum: scaled(asSum(right), value.scalar) }; // "2 * 12": twice item 12
      } else if ("scalar" in value) value = { sum: scaled((right as { sum: Sum }).sum, value.scalar) };
      else if ("scalar" in right) value = { sum: scaled(value.sum, right.scalar) };
      else throw new Error("cannot multiply two items");
    }
    return value;
  };

  const signed = (): Value => {
    if (!sign("-")) return atom();
    const value = signed();
    return "scalar" in value ? { sum: scaled(asSum(value), -1) } : { sum: scaled(value.sum, -1) };
  };

  const atom = (): Value => {
    if (sign("(")) {
      const value = sum();
      if (!sign(")")) throw new Error("a “(” is not closed");
      return { sum: asSum(value) };
    }
    const token = list[at++];
    if (!token) throw new Error("something is missing at the end");
    if (token.kind === "number") return { scalar: Number(token.text), token };
    if (token.kind === "sign") throw new Error(`“${token.text}” stands where an item is expected`);
    return { sum: [{ weight: 1, term: named(token) }] };
  };

  if (!list.length) throw new Error("nothing to compute");
  const value = asSum(sum());
  if (at < list.length) throw new Error(`“${list[at]!.text}” stands where + or − is expected`);
  return merged(value);
}

function named(token: Token): Term {
  if (token.kind === "item") return { kind: "item", index: Number(token.text.slice(1)) };
  if (token.kind === "name") return { kind: "name", name: token.text.slice(1, -1) };
  const [, colour, level] = /^mean\(\s*([^=]+?)\s*=\s*(.+?)\s*\)$/.exec(token.text)!;
  return { kind: "mean", colour: colour!, level: level!.replace(/^['"](.*)['"]$/, "$1") };
}

/** A bare number is an item's number, unless it multiplies. */
function asSum(value: Value): Sum {
  if ("sum" in value) return value.sum;
  if (!Number.isInteger(value.scalar)) throw new Error(`${value.scalar} is no item: write ${value.scalar} * 12`);
  return [{ weight: 1, term: { kind: "item", index: value.scalar } }];
}

const scaled = (sum: Sum, by: number): Sum => sum.map(({ weight, term }) => ({ weight: weight * by, term }));

function merged(sum: Sum): Sum {
  const found = new Map<string, { weight: number; term: Term }>();
  for (const { weight, term } of sum) {
    const key = JSON.stringify(term);
    const before = found.get(key);
    if (before) before.weight += weight;
    else found.set(key, { weight, term });
  }
  return [...found.values()];
}

/** Does the text ask for arithmetic rather than for a name? */
export function looksLikeArithmetic(text: string): boolean {
  return /(?:\d|['")”])\s*[-+*/−–·×(]|[-+*/−–·×]\s*(?:[#'"“(]|mean)|^\s*mean\(/.test(text);
}

export type Condition = { colour: string; op: "<" | "<=" | ">" | ">=" | "=" | "!="; value: string };

/** "error > 3 and label = 7" as conditions; null where the text is none. */
export function conditions(text: string): Condition[] | null {
  const parts = text.split(/\s+and\s+|\s*&\s*/i);
  const found: Condition[] = [];
  for (const part of parts) {
    const match = /^\s*(.+?)\s*(<=|>=|!=|≤|≥|≠|<|>|=)\s*(.+?)\s*$/.exec(part);
    if (!match || match[1]!.startsWith("mean(")) return null;
    const op = ({ "≤": "<=", "≥": ">=", "≠": "!=" } as Record<string, string>)[match[2]!] ?? match[2]!;
    found.push({ colour: match[1]!, op: op as Condition["op"], value: match[3]!.replace(/^['"](.*)['"]$/, "$1") });
  }
  return found.length ? found : null;
}
