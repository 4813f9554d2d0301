import { describe, expect, it, vi } from "vitest";
import { ServedSource, StaticSource } from "../src/source";

const opened = { version: 1, title: "t", n: 2, model: { hash: "abc" } };

describe("a static page", () => {
  const texts: Record<string, string> = { "isthmus-opened": JSON.stringify(opened), "blob:codes": "AACAPw==" };
  const memory = () => {
    const kept = new Map<string, string>();
    return { kept, getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value) };
  };

  it("reads what stands in the page", async () => {
    const source = new StaticSource((id) => texts[id] ?? null, null);
    expect((await source.opened()).title).toBe("t");
    expect(Array.from(await source.blob("codes"))).toEqual([0, 0, 128, 63]);
    await expect(source.blob("map/x")).rejects.toThrow('holds no "map/x"');
    expect(await source.item()).toBeNull();
    expect(await source.label()).toBeNull();
  });

  it("remembers labels under the model's hash", async () => {
    const own = memory();
    await new StaticSource((id) => texts[id] ?? null, own).save({ version: 1, labels: { 1: "cat" } });
    expect([...own.kept.keys()]).toEqual(["isthmus:abc"]);
    expect((await new StaticSource((id) => texts[id] ?? null, own).saved()).labels).toEqual({ 1: "cat" });
    own.kept.set("isthmus:abc", "{broken");
    expect(await new StaticSource((id) => texts[id] ?? null, own).saved()).toEqual({});
  });

  it("lives where nothing may be remembered", async () => {
    const refusing = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("no"); } }; // prettier-ignore
    const source = new StaticSource((id) => texts[id] ?? null, refusing);
    await source.save({ labels: {} });
    expect(await source.saved()).toEqual({});
  });
});

describe("a served page", () => {
  const answer = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });

  it("shows its token with every request, and sends JSON", async () => {
    const request = vi.fn(async (_address: string, _options?: RequestInit) => answer({ items: [{ kind: "numbers", values: [1] }] }));
    const source = new ServedSource("secret", request);
    expect(await source.decode([Float32Array.from([1, 2])])).toEqual([{ kind: "numbers", values: [1] }]);
    const [address, options] = request.mock.calls[0]!;
    expect(address).toBe("api/decode");
    expect(options).toMatchObject({ method: "POST", body: '{"codes":[[1,2]]}', headers: { "X-Isthmus-Token": "secret", "Content-Type": "application/json" } });
  });

  it("reads blobs and packed labels", async () => {
    const source = new ServedSource("s", async (address) => address === "api/blob/codes"
      ? new Response(Uint8Array.from([1, 2]))
      : answer({ levels: ["a"], labels: "AAD//w==", confidence: "AACAPwAAAAA=", error: null, suggest: [1] })); // prettier-ignore
    expect(Array.from(await source.blob("codes"))).toEqual([1, 2]);
    const told = await source.label({ 0: "a" });
    expect([Array.from(told.labels), Array.from(told.confidence), told.suggest]).toEqual([[0, 65535], [1, 0], [1]]);
  });

  it("says what the server says", async () => {
    await expect(new ServedSource("s", async () => answer({ error: "the token is wrong" }, 403)).opened()).rejects.toThrow("the token is wrong");
    await expect(new ServedSource("s", async () => new Response("<html>", { status: 502, statusText: "Bad Gateway" })).opened()).rejects.toThrow("502 Bad Gateway");
  });

  it("a map that takes its time says how long", async () => {
    expect(await new ServedSource("s", async () => answer({ wait: 3 }, 202)).map("tsne")).toEqual({ wait: 3 });
  });

  it("saves on leaving so that the page may go", async () => {
    const request = vi.fn(async (_address: string, _options?: RequestInit) => answer({}));
    await new ServedSource("s", request).save({ version: 1, labels: {} }, true);
    expect(request.mock.calls[0]![1]).toMatchObject({ keepalive: true, method: "POST" });
  });
});
