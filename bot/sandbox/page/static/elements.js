// Builds DOM nodes. Text always goes in as text: nothing on this page is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with properties and children. `dataset` and `aria` are objects; a child is a node,
 * a string, or null and false, which are left out.
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

/** The children that are there, with nested arrays laid flat. */
export function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** A picture out of one of the page's sprites; it says nothing to a screen reader. */
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

/** Sets text only where it differs, so that a live region or a selection is left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** An error that the page shows in place of what it cannot draw. */
export function errorBox(text) {
  return element(
    "div",
    { className: "error-box", dataset: { testid: "unknown-block" } },
    icon("warning"),
    element("span", { textContent: text }),
  );
}
