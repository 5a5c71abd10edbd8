"use strict";
/* The overview: snapshots over the operators' WebSocket, or by asking for them where it does not come through.
   All that comes is written as text. */
(() => {
    const page = document.getElementById("overview");
    const STALE_MS = 6000, PAST_MS = 10000;
    const byId = (id) => document.getElementById(id);

    // ---- words

    function duration(seconds) {
        if (seconds === null || seconds === undefined) return "–";
        if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
        if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
        const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
        const at = parts.findIndex(([length]) => seconds >= length);
        const [length, unit] = parts[at], [next, small] = parts[at + 1] || [1, "s"];
        const rest = Math.floor((seconds % length) / next);
        return `${Math.floor(seconds / length)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
    }
    const rate = (value) => (value === null || value === undefined ? "–" : value === 0 || value >= 10 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : value.toFixed(2));
    const short = (value) => (value >= 10000 ? `${Math.round(value / 1000)}k` : value === undefined || value === null ? "–" : String(Math.round(value * 10) / 10));
    const count = (value, isExact) => value.toLocaleString("en") + (isExact ? "" : "+");
    const { clock } = Live;

    // ---- elements

    function element(name, text, className) {
        const made = document.createElement(name);
        if (text !== undefined) made.textContent = text;
        if (className) made.className = className;
        return made;
    }
    function link(address, key, text) {
        const made = element("a", text);
        made.href = address.replace("KEY", encodeURIComponent(key));
        return made;
    }
    // As the admin quotes a key in an address.
    const quoted = (key) => key.replace(/[":/_#?;@&=+$,[\]<>%\n\\]/g, (c) => `_${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
    function row(cells) {
        const made = element("tr");
        cells.forEach(([content, className], index) => {
            const cell = element(index ? "td" : "th", undefined, className);
            if (!index) cell.scope = "row";
            cell.append(...(Array.isArray(content) ? content : [content]));
            made.append(cell);
        });
        return made;
    }
    /* Rows are replaced only where they changed: whoever is on a link with the keyboard stays there. */
    function fill(parent, rows) {
        const old = [...parent.children];
        rows.forEach((made, index) => {
            if (index >= old.length) parent.append(made);
            else if (!old[index].isEqualNode(made)) {
                const hadFocus = old[index].contains(document.activeElement);
                old[index].replaceWith(made);
                if (hadFocus) made.querySelector("a")?.focus();
            }
        });
        old.slice(rows.length).forEach((left) => left.remove());
    }

    // ---- what is shown

    function show(snapshot) {
        const now = snapshot.now;
        fill(byId("figures"), [
            ["submitted a second", rate(now.submitted)],
            ["finished a second", rate(now.finished)],
            ["failed a second", rate(now.failed), now.failed > 0],
            ["waiting", count(now.waiting, now.waiting_is_exact)],
            ["oldest wait", duration(now.oldest_wait_seconds)],
            ["assigned", count(now.assigned, true)],
            ["wait p50 / p95", `${duration(now.wait_p50)} / ${duration(now.wait_p95)}`],
            ["to the end p50 / p95", `${duration(now.end_p50)} / ${duration(now.end_p95)}`],
            ["workers", now.workers_draining ? `${now.workers_online} + ${now.workers_draining} draining` : String(now.workers_online), now.workers_online === 0],
            ["processes", String(now.nodes)],
        ].map(([label, value, isBad]) => {
            const figure = element("div", undefined, isBad ? "bad" : "");
            figure.append(element("dt", label), element("dd", value));
            return figure;
        }));
        fill(byId("problems"), snapshot.problems.length ? snapshot.problems.map((problem) => {
            const item = element("li", problem.text);
            if (problem.since) item.append(", ", element("time", `since ${clock(problem.since)}`));
            if (problem.task) item.append(" ", link(page.dataset.task, problem.task, "one of them"));
            if (problem.cause === "failed") {
                const list = element("a", "the failed");
                list.href = page.dataset.failed;
                item.append(" ", list);
            }
            return item;
        }) : [element("li", "Nothing: what can be done is being done.", "none")]);
        fill(byId("queues").tBodies[0], snapshot.queues.length ? snapshot.queues.map((queue) => row([
            [link(page.dataset.queue, quoted(queue.name), queue.name)],
            [queue.pause ? `${queue.health} ${queue.pause}` : queue.health, `health ${queue.health.replace(" ", "-")}`],
            [count(queue.waiting, queue.waiting_is_exact), "number"],
            [duration(queue.oldest_wait_seconds), "number"],
            [count(queue.assigned, true) + (queue.concurrency === null ? "" : ` of ${queue.concurrency}`), "number"],
            [String(queue.workers), "number"],
        ])) : [row([["No queue yet."]])]);
        fill(byId("workers").tBodies[0], snapshot.workers.length ? snapshot.workers.map((worker) => {
            const meter = element("meter");
            meter.max = worker.max_outstanding || 1;
            meter.value = worker.outstanding;
            const load = `${worker.outstanding} of ${worker.max_outstanding}`;
            meter.setAttribute("aria-label", load);
            return row([
                [link(page.dataset.worker, worker.id, worker.name)],
                [worker.state],
                [[meter, load], "number"],
                [worker.version || "–"],
                [clock(worker.connected_at)],
            ]);
        }) : [row([["No worker is attached."]])]);
        byId("workers-left-out").hidden = !snapshot.workers_left_out;
        byId("workers-left-out").textContent = `and ${snapshot.workers_left_out} more`;
    }

    // ---- how it comes

    const watch = new Live.Watch(page.dataset.now, show);

    function words() {
        if (!watch.newsAt) return "Loading …";
        return watch.mode === "live" ? "Live, once a second." : "Asked for every two seconds.";
    }
    function tell() {
        const state = byId("overview-state"), warning = watch.warning(STALE_MS), text = warning || words();
        if (state.textContent !== text) state.textContent = text;
        state.classList.toggle("stale", Boolean(warning));
    }

    const curves = [
        new Curves.Curve(byId("curves"), "Tasks a second", [["submitted", "submitted"], ["finished", "finished"], ["failed", "failed"]], rate),
        new Curves.Curve(byId("curves"), "Waiting", [["waiting", "waiting"]], short),
        new Curves.Curve(byId("curves"), "Wait until assigned", [["wait_p50", "p50"], ["wait_p95", "p95"]], duration, Curves.TIMES),
        new Curves.Curve(byId("curves"), "Until the end", [["end_p50", "p50"], ["end_p95", "p95"]], duration, Curves.TIMES),
    ];
    let range = "1h";
    async function showPast() {
        const asked = range;
        const text = await Live.read(page.dataset.past.replace("RANGE", asked), "application/json").catch(() => null);
        if (text && asked === range) curves.forEach((curve) => curve.show(JSON.parse(text)));
    }
    byId("ranges").addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        range = button.dataset.range;
        for (const each of byId("ranges").children) each.setAttribute("aria-pressed", String(each === button));
        showPast();
    });

    showPast();
    setInterval(() => { if (!document.hidden) showPast(); }, PAST_MS);
    setInterval(tell, 500);
})();
