// Opens the data, lays out the page, and wires what is done to what is shown.

import "./style.css";
import type { Opened, Saved } from "./contract";
import { App } from "./app";
import { float32s } from "./bytes";
import { Codes } from "./codes";
import { openDecoder } from "./decoder/decoder";
import { Density } from "./density";
import { dark, fill, h, quiet } from "./dom";
import { MapView } from "./map/mapview";
import { frame } from "./frame";
import { sourceOfPage, type Source } from "./source";

declare global {
  interface Window {
    isthmus: Record<string, unknown>;
  }
}

let chosen: string | undefined; // a theme; else the system's
theme(null);
document.head.append(h("link", { rel: "icon", href: "data:," })); // else browsers ask the server for one
const source = sourceOfPage();
const ready = start(source);
window.isthmus = { ready };
ready.catch((error: Error) => {
  console.error(error);
  fill(document.body, h("main", { class: "broken", role: "alert" }, h("h1", null, "The explorer could not open"), h("p", null, error.message),
    h("p", { class: "quiet" }, "If the server was stopped, start it again: isthmus explore MODEL DATA, and open the address that it prints."))); // prettier-ignore
});

async function start(from: Source): Promise<App> {
  const opened: Opened = await from.opened();
  if (opened.version !== 1) throw new Error(`this page reads version 1 and was given version ${opened.version}`);
  const saved: Saved = await from.saved().catch((error: Error) => (console.error(error), {}));
  const app = new App(opened, from);
  if (saved.view?.theme) theme((chosen = saved.view.theme));
  document.title = `${opened.title} · Isthmus`;
  const map = new MapView(app);
  const tab = frame(app, map, () => {
    theme((chosen = dark() ? "light" : "dark"));
    app.emit("theme");
  });
  const wanted = opened.maps.find((m) => m.name === saved.view?.map) ?? opened.maps[0];
  if (!wanted) throw new Error("there is no map to show");
  await app.showMap(wanted);
  if (saved.view?.centre) [map.camera.x, map.camera.y] = saved.view.centre;
  if (saved.view?.zoom) map.camera.zoom = saved.view.zoom;
  const colour = opened.colours.some((c) => c.name === saved.view?.colour) ? saved.view!.colour! : (opened.colours[0]?.name ?? null);
  await app.colourBy(colour);
  for (const [index, name] of Object.entries(saved.labels ?? {})) {
    const i = Number(index);
    if (Number.isInteger(i) && i >= 0 && i < opened.n) app.labels.set(i, String(name));
  }
  remember(app, map);
  window.isthmus = {
    ready,
    opened,
    app,
    map,
    tab,
    decode: (code: ArrayLike<number>) => app.decoder!.decode(Float32Array.from(code)),
    codeAt: (x: number, y: number) => app.codeAt(x, y),
    select: (i: number) => app.select(i),
    labels: () => Object.fromEntries(app.labels),
    state: () => state(app, map),
  };
  const trouble = (what: string) => (error: Error) => {
    console.error(error);
    app.say(`${what}: ${error.message}`);
  };
  // the map stands: what follows comes while one looks at it
  await Promise.all([
    from.blob("codes").then((bytes) => app.setCodes(new Codes(float32s(bytes, "codes"), opened.model.latent_dim))),
    openDecoder(opened, from).then((decoder) => {
      app.decoder = decoder;
      if (app.codes) app.emit("codes");
    }).catch(trouble("decoder")),
    opened.names && from.blob(opened.names).then((bytes) => {
      app.names = JSON.parse(new TextDecoder().decode(bytes)) as string[];
      app.emit("marks");
    }).catch(trouble("names")),
    opened.density && from.blob("density").then((bytes) => {
      app.density = new Density(opened.density!, float32s(bytes, "density"));
    }).catch(trouble("density")),
  ]); // prettier-ignore
  return app;
}

function state(app: App, map: MapView): Saved {
  const { x, y, zoom } = map.camera;
  return app.saved({ map: app.mapInfo?.name, colour: app.colouring?.info.name ?? null, centre: [x, y], zoom, theme: chosen });
}

const SMALL = 50_000; // characters that a request which outlives its page may carry (browsers allow 64 KiB)

/** Labels are kept at once, the view soon after it changes; one request at a time, so that none overtakes another. */
function remember(app: App, map: MapView): void {
  let last = JSON.stringify(state(app, map));
  let busy = false;
  let again = false;
  const save = (leaving: boolean) => {
    if (busy && !leaving) {
      again = true;
      return;
    }
    const now = state(app, map);
    const text = JSON.stringify(now);
    if (text === last) return;
    last = text;
    busy = true;
    app.source
      .save(now, text.length < SMALL)
      .catch((error: Error) => {
        last = "";
        console.error(error);
        if (!leaving) app.say(`not saved: ${error.message}`);
      })
      .finally(() => {
        busy = false;
        if (again) save((again = false));
      });
  };
  app.on("labels", () => save(false));
  const later = quiet(600, () => save(false));
  app.on(["map", "colour", "theme"], later);
  map.onmove = later;
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && save(true));
  window.addEventListener("pagehide", () => save(true));
}

function theme(wanted: string | null): void {
  const night = wanted ? wanted === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset["theme"] = night ? "dark" : "light";
}
