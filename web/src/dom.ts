// Elements of the page. Text is always put in as text: what data holds can never become markup.

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

/** An element: `class`, `on*` handlers, `style` as an object, other props as attributes (true: bare, false/null: none). */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props?: Props | null, ...children: (Child | Child[])[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (name === "style") for (const [key, v] of Object.entries(value as Record<string, string>)) element.style.setProperty(key, v);
    else if (name === "value" || name === "checked") (element as unknown as Props)[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c))));
  return element;
}

export function fill(parent: Element, ...children: (Child | Child[])[]): void {
  parent.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c))));
}

export const button = (text: string, onclick: (event: Event) => void, props: Props = {}): HTMLButtonElement =>
  h("button", { type: "button", onclick, ...props }, text);

/** A canvas for the screen's own pixels: width and height in CSS pixels. */
export function sharp(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

export const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const dark = (): boolean => document.documentElement.dataset["theme"] === "dark";

export const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/** Runs once after the last call in a while. */
export function quiet(after: number, job: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(job, after);
  };
}
