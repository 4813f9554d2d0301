// Where the page's data comes from: the page itself (static), or the server that Python runs on this machine.

import type { ItemAnswer, LabelAnswer, MapInfo, Opened, Saved, View } from "./contract";
import { float32s, fromBase64, uint16s } from "./bytes";

export interface Source {
  opened(): Promise<Opened>;
  blob(name: string): Promise<Uint8Array>;
  /** null where only Python can answer and is not there. */
  item(index: number): Promise<ItemAnswer | null>;
  decode(codes: ArrayLike<number>[]): Promise<View[]>;
  label(labels: Record<string, string>): Promise<LabelAnswer | null>;
  map(name: string): Promise<{ map?: MapInfo; wait?: number } | null>;
  search(text: string): Promise<Found | null>;
  saved(): Promise<Saved>;
  save(state: Saved, leaving?: boolean): Promise<void>;
}

export interface Found {
  items?: { index: number; score?: number }[];
  indices?: number[];
  scores?: number[];
  python?: string;
}

/** Text of an element of the page, or null: all that a static page needs of the document. */
export type Texts = (id: string) => string | null;

/** What remembers between visits: localStorage, where the browser allows it. */
export interface Memory {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export class StaticSource implements Source {
  private readonly told: Opened;
  constructor(
    private readonly texts: Texts,
    private readonly memory: Memory | null,
  ) {
    this.told = JSON.parse(texts("isthmus-opened")!) as Opened;
  }

  async opened(): Promise<Opened> {
    return this.told;
  }

  async blob(name: string): Promise<Uint8Array> {
    const text = this.texts(`blob:${name}`);
    if (text === null) throw new Error(`this page holds no "${name}"`);
    return fromBase64(text);
  }

  async item(): Promise<null> {
    return null;
  }

  decode(): Promise<View[]> {
    return Promise.reject(new Error("this page was saved without Python: it cannot ask the model"));
  }

  async label(): Promise<null> {
    return null;
  }

  async map(): Promise<null> {
    return null;
  }

  async search(): Promise<null> {
    return null;
  }

  async saved(): Promise<Saved> {
    try {
      return JSON.parse(this.memory?.getItem(this.key) ?? "{}") as Saved;
    } catch {
      return {}; // what cannot be read is not worth an error: the page starts afresh
    }
  }

  async save(state: Saved): Promise<void> {
    try {
      this.memory?.setItem(this.key, JSON.stringify(state));
    } catch {
      // private windows and file pages may refuse: the labels can still be exported
    }
  }

  private get key(): string {
    return `isthmus:${this.told.model.hash}`;
  }
}

type Fetch = (address: string, options?: RequestInit) => Promise<Response>;

export class ServedSource implements Source {
  constructor(
    private readonly token: string,
    private readonly request: Fetch = (address, options) => fetch(address, options),
  ) {}

  async opened(): Promise<Opened> {
    return (await this.ask("api/opened")).json() as Promise<Opened>;
  }

  async blob(name: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.ask(`api/blob/${name}`)).arrayBuffer());
  }

  item(index: number): Promise<ItemAnswer> {
    return this.post("item", { index });
  }

  async decode(codes: ArrayLike<number>[]): Promise<View[]> {
    return (await this.post<{ items: View[] }>("decode", { codes: codes.map((code) => Array.from(code)) })).items;
  }

  async label(labels: Record<string, string>): Promise<LabelAnswer> {
    const told = await this.post<Record<string, unknown>>("label", { labels });
    return {
      levels: told["levels"] as string[],
      labels: uint16s(fromBase64(told["labels"] as string), "labels"),
      confidence: float32s(fromBase64(told["confidence"] as string), "confidence"),
      error: (told["error"] as number | null) ?? null,
      suggest: (told["suggest"] as number[]) ?? [],
      python: told["python"] as string | undefined,
    };
  }

  map(name: string): Promise<{ map?: MapInfo; wait?: number }> {
    return this.post("map", { name });
  }

  search(text: string): Promise<Found> {
    return this.post("search", { text });
  }

  async saved(): Promise<Saved> {
    return (await this.ask("api/state")).json() as Promise<Saved>;
  }

  async save(state: Saved, leaving = false): Promise<void> {
    await this.ask("api/state", { method: "POST", body: JSON.stringify(state), keepalive: leaving });
  }

  private async post<T>(name: string, body: unknown): Promise<T> {
    return (await this.ask(`api/${name}`, { method: "POST", body: JSON.stringify(body) })).json() as Promise<T>;
  }

  private async ask(address: string, options: RequestInit = {}): Promise<Response> {
    const headers: Record<string, string> = { "X-Isthmus-Token": this.token };
    if (options.body) headers["Content-Type"] = "application/json";
    const answer = await this.request(address, { ...options, headers, cache: "no-store" });
    if (answer.ok) return answer;
    let text = `${answer.status} ${answer.statusText}`;
    try {
      text = ((await answer.json()) as { error?: string }).error ?? text;
    } catch {
      // no JSON: the status says it
    }
    throw new Error(text);
  }
}

const TOKEN = "isthmus-token";

/** The source of this page. The token goes from the address into the session, where no one reads it by looking. */
export function sourceOfPage(): Source {
  const texts: Texts = (id) => document.getElementById(id)?.textContent ?? null;
  if (texts("isthmus-opened") !== null) return new StaticSource(texts, storage());
  const address = new URL(location.href);
  const token = address.searchParams.get("token");
  if (token) {
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
    sessionStorage.setItem(TOKEN, token);
  }
  return new ServedSource(token ?? sessionStorage.getItem(TOKEN) ?? "");
}

function storage(): Memory | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
