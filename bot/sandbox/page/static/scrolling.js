// Keeps a list of messages at its end, as a chat does, unless its reader has scrolled up.

const NEAR_PX = 60;

export class Scrolling {
  #scroller;
  #newer;
  #atEnd = true;

  /** `newer`: the button that appears when something new is below, or null. */
  constructor(scroller, newer = null) {
    this.#scroller = scroller;
    this.#newer = newer;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // The composer grows, a banner appears, a phone turns: the end stays in sight.
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

  /** Draws, then goes to the end, or says that there is `something` new below. */
  around(draw, something) {
    draw();
    if (this.#atEnd) this.toEnd();
    else if (something && this.#newer) this.#newer.hidden = false;
  }
}
