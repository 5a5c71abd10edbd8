// A whole worker in Node.js with the `ws` package: WORKQUEUE_URL=ws://127.0.0.1:8000 WORKQUEUE_TOKEN=wq_… node worker.js
"use strict";
const WebSocket = require("ws");

const { WORKQUEUE_URL: url = "ws://127.0.0.1:8000", WORKQUEUE_TOKEN: token = "" } = process.env;
const QUERY = "task=upper&lang=en,de&_max_outstanding=20&_batch=1&_version=node-example";
const FATAL = new Set([4400, 4401, 4403, 4409]);
const RESEND_MS = 5_000, PING_MS = 10_000, STABLE_MS = 10_000, MAX_PAUSE_MS = 30_000;

let leaving = false; // for good: on SIGTERM, or when an operator asks
let failures = 0;
let drain = () => process.exit(0); // of the connection that is open

async function perform(task) {
  return String(task.data).toUpperCase();
}

function connect() {
  const openedAt = Date.now();
  const socket = new WebSocket(`${url}/work/queue?${QUERY}`, "workqueue.v1", {
    headers: { Authorization: `Bearer ${token}` },
    maxPayload: 0, // the server bounds what it sends
  });
  // All of this belongs to the connection: when it ends, others have the tasks, and it is forgotten with it.
  const seen = new Set(), running = new Set(), cancelled = new Set(), results = new Map();
  let draining = false, alive = true;
  const say = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  const keyOf = ({ task_id, attempt }) => `${task_id}/${attempt}`;
  const closeIfDone = () => draining && !running.size && !results.size && socket.close(1000);

  async function take(task) {
    const key = keyOf(task);
    if (seen.has(key)) return; // a task may be given twice; its result is sent again until it is acknowledged
    seen.add(key);
    if (draining) return say({ kind: "release", task_id: task.task_id });
    running.add(key);
    const result = { task_id: task.task_id, attempt: task.attempt };
    try {
      Object.assign(result, { result: "done", data: (await perform(task)) ?? null });
    } catch (error) {
      Object.assign(result, { result: "error", error: String(error) });
    }
    running.delete(key);
    if (!cancelled.has(key)) {
      results.set(key, result);
      say(result);
    }
    closeIfDone();
  }

  function hear(message) {
    if (message?.kind === "task") take(message);
    else if (message?.kind === "ack") results.delete(keyOf(message));
    else if (message?.kind === "cancel") cancelled.add(keyOf(message));
    else if (message?.kind === "drain" && !draining) leave(message.reason !== "The server restarts.");
    else if (message?.kind === "error") console.error(`not understood: ${message.message}`);
    closeIfDone();
  }

  function leave(forGood) {
    leaving ||= forGood;
    if (!draining) say({ kind: "drain" });
    draining = true;
    closeIfDone();
  }

  drain = () => leave(true);
  socket.on("message", (data, isBinary) => {
    alive = true;
    let content;
    try {
      content = isBinary ? [] : JSON.parse(data);
    } catch {
      return;
    }
    for (const message of Array.isArray(content) ? content : [content]) hear(message);
  });
  socket.on("pong", () => (alive = true));
  socket.on("error", (error) => console.error(`connection: ${error.message}`));
  socket.on("unexpected-response", (_, { statusCode }) => {
    if (statusCode === 401 || statusCode === 403) process.exit(1);
    socket.terminate();
  });
  const resending = setInterval(() => results.forEach(say), RESEND_MS);
  const pinging = setInterval(() => {
    if (!alive) return socket.terminate(); // half-open: nothing else would ever end it
    alive = false;
    if (socket.readyState === WebSocket.OPEN) socket.ping();
  }, PING_MS);

  socket.on("close", (code, reason) => {
    clearInterval(resending);
    clearInterval(pinging);
    console.error(`closed: ${code} ${reason}`);
    if (FATAL.has(code)) process.exit(1);
    if (leaving) process.exit(0);
    failures = Date.now() - openedAt > STABLE_MS ? 0 : failures + 1;
    drain = () => process.exit(0);
    // Full jitter: a fleet that lost its server at one moment comes back spread out.
    setTimeout(connect, Math.random() * Math.min(MAX_PAUSE_MS, 500 * 2 ** failures));
  });
}

process.on("SIGTERM", () => drain());
process.on("SIGINT", () => drain());
connect();
