// The prompt of a button's `confirm` object.
// https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object

const byId = (id) => document.getElementById(id);

/** Asks; true where the person agreed. Escape, or the other button, is a no. */
export function confirmed(confirm, drawText) {
  const dialog = byId("confirm");
  byId("confirm-title").replaceChildren(...drawText(confirm.title));
  byId("confirm-text").replaceChildren(...drawText(confirm.text));
  byId("confirm-deny").replaceChildren(...drawText(confirm.deny));
  byId("confirm-confirm").replaceChildren(...drawText(confirm.confirm));
  byId("confirm-confirm").className = `button ${confirm.style === "danger" ? "danger" : "primary"}`;
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-confirm").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"), { once: true });
  });
}
