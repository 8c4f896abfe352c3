// Keeps a list of messages scrolled to its end, unless the reader has scrolled up.

const NEAR_PX = 60;

export class Scrolling {
  #scroller;
  #newer;
  #atEnd = true;

  /** `newer`: the button that appears when there are new messages below, or null. */
  constructor(scroller, newer = null) {
    this.#scroller = scroller;
    this.#newer = newer;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // For when the composer grows, a banner appears or the phone is turned.
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(scroller);
    newer?.addEventListener("click", () => {
      this.toEnd();
      scroller.focus({ preventScroll: true });
    });
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#atEnd && this.#newer) this.#newer.hidden = true;
  }

  toEnd() {
    this.#atEnd = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    if (this.#newer) this.#newer.hidden = true;
  }

  /** Draws, then scrolls to the end, or shows the button if the reader is further up and `hasNew`. */
  around(draw, hasNew) {
    draw();
    if (this.#atEnd) this.toEnd();
    else if (hasNew && this.#newer) this.#newer.hidden = false;
  }
}
