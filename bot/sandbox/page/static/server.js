// Client of the page's API: receives the state as server-sent events, posts what people do.

const RETRY_MS = 1500;

/**
 * Receives the sandbox's state while the tab is visible. A hidden tab disconnects, as browsers allow
 * only six connections per host for all tabs together; it gets the whole state on its return.
 * `onState` is called with each state, `onConnection` with whether the page is connected.
 */
export function receive(onState, onConnection) {
  let events = null;

  function connect() {
    const opened = new EventSource("/page/events");
    events = opened;
    opened.addEventListener("open", () => onConnection(true));
    opened.addEventListener("message", (event) => onState(JSON.parse(event.data)));
    opened.addEventListener("error", () => {
      onConnection(false);
      // The browser reconnects after a lost connection, but not after an HTTP error.
      if (opened.readyState !== EventSource.CLOSED) return;
      events = null;
      setTimeout(follow, RETRY_MS);
    });
  }

  function follow() {
    if (document.hidden) {
      events?.close();
      events = null;
    } else if (events === null) connect();
  }

  document.addEventListener("visibilitychange", follow);
  follow();
}

/** Posts to the page's API. Resolves to an error text, or to null on success. */
export async function post(path, body) {
  let response;
  try {
    response = await fetch(`/page/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    return "The sandbox does not answer. Is it still running?";
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.ok !== false) return null;
  return answer?.error ? String(answer.error) : `The sandbox answered with HTTP ${response.status}.`;
}
