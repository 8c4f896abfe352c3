// The page's API: the state comes as server-sent events, what people do goes back as POSTs.

const RETRY_MS = 1500;

/**
 * Keeps receiving the sandbox's state.
 * `onState` gets each state; `onConnection` true or false when the connection comes or goes.
 */
export function receive(onState, onConnection) {
  const events = new EventSource("/page/events");
  events.addEventListener("open", () => onConnection(true));
  events.addEventListener("message", (event) => onState(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    onConnection(false);
    // The browser reconnects by itself after a lost connection, but never after an HTTP error.
    if (events.readyState === EventSource.CLOSED) {
      setTimeout(() => receive(onState, onConnection), RETRY_MS);
    }
  });
}

/** Posts to the page's API. Returns what went wrong as a text, or null. */
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
