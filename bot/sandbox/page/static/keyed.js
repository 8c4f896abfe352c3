// Updates a list item by item: unchanged items keep their nodes, and so focus and selection.

const focusKey = (node) => node?.closest("[data-focus-key]")?.dataset.focusKey;

/** Replaces an item's contents; focus inside moves to the same control, or else to the item. */
function redraw(node, contents) {
  const hadFocus = node.contains(document.activeElement);
  const key = hadFocus ? focusKey(document.activeElement) : undefined;
  node.replaceChildren(...contents);
  if (!hadFocus) return;
  const same =
    key && [...node.querySelectorAll("[data-focus-key]")].find((each) => each.dataset.focusKey === key);
  (same ?? node).focus({ preventScroll: true });
}

export class KeyedList {
  #list;
  #items = new Map();

  constructor(list) {
    this.#list = list;
  }

  /**
   * Shows these items in this order. An item has a `key`; a `signature`, and is redrawn when that
   * changes; `create()`, which returns its node; `contents()`, the node's children; and optionally
   * `decorate(node)`, which sets the node's attributes.
   */
  show(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, { node }] of this.#items) {
      if (keys.has(key)) continue;
      this.#remove(node);
      this.#items.delete(key);
    }
    let after = null;
    for (const item of items) {
      after = this.#place(item, after);
    }
  }

  #place(item, after) {
    let known = this.#items.get(item.key);
    if (!known) {
      known = { node: item.create(), signature: null };
      this.#items.set(item.key, known);
    }
    if (known.signature !== item.signature) {
      known.signature = item.signature;
      item.decorate?.(known.node);
      redraw(known.node, item.contents());
    }
    const next = after ? after.nextSibling : this.#list.firstChild;
    if (next !== known.node) this.#list.insertBefore(known.node, next);
    return known.node;
  }

  #remove(node) {
    const hadFocus = node.contains(document.activeElement);
    const neighbour = node.previousElementSibling ?? node.nextElementSibling;
    node.remove();
    if (hadFocus && neighbour?.tabIndex === -1) neighbour.focus({ preventScroll: true });
  }
}
