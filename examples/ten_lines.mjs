// A whole worker in Node 22 or a browser, which cannot set headers: node examples/ten_lines.mjs ws://127.0.0.1:8000 wq_…
const [url, token] = process.argv.slice(2);
const socket = new WebSocket(`${url}/work/queue?task=upper&lang=en,de`);
socket.onopen = () => socket.send(JSON.stringify({ kind: "auth", token }));
socket.onmessage = ({ data }) => {
  const task = JSON.parse(data);
  const result = { task_id: task.task_id, result: "done", data: String(task.data).toUpperCase() };
  socket.send(JSON.stringify(result));
};
socket.onclose = ({ code, reason }) => console.error(`closed: ${code} ${reason}`);
