// Builds DOM nodes. Text is only ever inserted as text; the page never parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with properties and children. `dataset` and `aria` are objects. A child is a node, a
 * string, or an array of them; null, undefined and false are skipped.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  const { dataset, aria, role, ...rest } = properties;
  Object.assign(node, rest);
  for (const [name, value] of Object.entries(dataset ?? {})) {
    if (value !== undefined && value !== null) node.dataset[name] = String(value);
  }
  for (const [name, value] of Object.entries(aria ?? {})) {
    if (value !== undefined && value !== null) node.setAttribute(`aria-${name}`, String(value));
  }
  if (role) node.setAttribute("role", role);
  node.append(...present(children));
  return node;
}

/** Flattens nested arrays and drops null, undefined and false. */
export function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** An image from one of the page's SVG sprites, hidden from screen readers. */
export function picture(sprite, name, className) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/page/${sprite}.svg#${name}`);
  svg.append(use);
  return svg;
}

export const icon = (name) => picture("icons", name, "icon");

/** Sets text only if it differs, to keep selections and not to trigger live regions. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** An error shown in place of something that the page can't draw. */
export function errorBox(text) {
  return element(
    "div",
    { className: "error-box", dataset: { testid: "unknown-block" } },
    icon("warning"),
    element("span", { textContent: text }),
  );
}
