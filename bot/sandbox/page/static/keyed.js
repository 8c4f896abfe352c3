// Redraws a list piece by piece: what did not change keeps its nodes, and with them focus and selection.

const focusKey = (node) => node?.closest("[data-focus-key]")?.dataset.focusKey;

/** Changes an item's contents; focus inside goes to the equivalent control, or else to the item. */
function redrawn(node, contents) {
  const held = node.contains(document.activeElement);
  const key = held ? focusKey(document.activeElement) : undefined;
  node.replaceChildren(...contents);
  if (!held) return;
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
   * Shows these items in this order. An item: `key`, `signature` (drawn anew where it differs),
   * `create()` its node, `contents()` the node's children, `settle(node)` sets the node's attributes.
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
      item.settle?.(known.node);
      redrawn(known.node, item.contents());
    }
    const next = after ? after.nextSibling : this.#list.firstChild;
    if (next !== known.node) this.#list.insertBefore(known.node, next);
    return known.node;
  }

  #remove(node) {
    const held = node.contains(document.activeElement);
    const neighbour = node.previousElementSibling ?? node.nextElementSibling;
    node.remove();
    if (held && neighbour?.tabIndex === -1) neighbour.focus({ preventScroll: true });
  }
}
