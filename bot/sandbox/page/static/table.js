// Draws the table block. https://docs.slack.dev/reference/block-kit/blocks/table-block

import { element, errorBox } from "./elements.js";
import { withEmoji } from "./emoji.js";
import { richText } from "./rich_text.js";

const ALIGNMENTS = new Set(["left", "center", "right"]);

// How far each message's table is scrolled sideways: a redraw must not move what somebody reads.
const offsets = new Map();

const CELLS = {
  raw_text: (cell) => withEmoji(String(cell.text), false),
  raw_number: (cell) => String(cell.text ?? cell.value),
  rich_text: (cell, context) => richText(cell, context),
};

function content(cell, context) {
  if (Object.hasOwn(CELLS, cell?.type)) return CELLS[cell.type](cell, context);
  return errorBox(`Unknown table cell “${cell?.type}”`);
}

function drawnCell(cell, column, isHeader, context) {
  const align = ALIGNMENTS.has(column?.align) ? column.align : "left";
  const body = element("div", { className: "cell", dir: "auto" }, content(cell, context));
  const node = element(isHeader ? "th" : "td", {
    dataset: { align, wrapped: column?.is_wrapped ? "" : null },
  });
  if (isHeader) node.scope = "col";
  // A cell that is not wrapped is cut; the pointer then shows all of it.
  if (!column?.is_wrapped) node.title = body.textContent;
  node.append(body);
  return node;
}

function drawnRow(row, columns, isHeader, context) {
  return element(
    "tr",
    {},
    row.map((cell, index) => drawnCell(cell, columns[index], isHeader, context)),
  );
}

export function table(block, context) {
  const [header, ...rows] = block.rows;
  const columns = block.column_settings ?? [];
  // tabIndex: a scrolling region must be reachable by keyboard.
  const node = element(
    "div",
    {
      className: "table",
      tabIndex: 0,
      role: "region",
      aria: { label: "Table" },
      dataset: { focusKey: "table", testid: "table" },
    },
    element(
      "table",
      {},
      element("thead", {}, drawnRow(header, columns, true, context)),
      element("tbody", {}, rows.map((row) => drawnRow(row, columns, false, context))),
    ),
  );
  node.addEventListener("scroll", () => offsets.set(context.container, node.scrollLeft), { passive: true });
  // A node scrolls only once it is in the page.
  requestAnimationFrame(() => (node.scrollLeft = offsets.get(context.container) ?? 0));
  return node;
}
