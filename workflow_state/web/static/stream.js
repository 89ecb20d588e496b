// Server-sent events, for as long as someone looks: a browser has six connections to a server, and tabs that nobody sees
// would use them up.

const HIDDEN_FOR_MS = 10_000;
const AGAIN_AFTER_MS = 5_000;

// Calls `handlers[name](data)` for each event, `lost()` when the connection breaks and `found()` when it is there (again).
export function listen(url, handlers, { lost, found }) {
  let source = null;
  let timer = 0;
  let isOver = false;

  function open() {
    clearTimeout(timer);
    if (source || isOver) return;
    source = new EventSource(url);
    source.addEventListener("open", found);
    source.addEventListener("error", () => {
      lost();
      // It connects again by itself, except where it was answered otherwise than by a stream.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        timer = setTimeout(open, AGAIN_AFTER_MS);
      }
    });
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
    source.addEventListener("end", () => {
      isOver = true;
      close();
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") open();
    else timer = setTimeout(close, HIDDEN_FOR_MS);
  });
  open();
  return () => {
    isOver = true;
    close();
  };
}
