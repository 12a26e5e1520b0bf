//! A worker that only ticks. Browsers slow the timers of hidden pages down to one a minute, which
//! is too late for heartbeats; the timers of workers go on.

let timer = null;

onmessage = ({ data: intervalMs }) => {
  clearInterval(timer);
  if (intervalMs > 0) timer = setInterval(() => postMessage(null), intervalMs);
};
