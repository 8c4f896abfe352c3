// The dialog of a button's `confirm` object.
// https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object

const byId = (id) => document.getElementById(id);

/** Shows the dialog; resolves to true if confirmed, false on Escape or the other button. */
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
