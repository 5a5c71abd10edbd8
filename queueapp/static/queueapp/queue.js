"use strict";
/* The curve of a queue's page: its last hour, asked for anew each minute. */
(() => {
    const page = document.getElementById("queue");
    const rate = (value) => (value === null || value === undefined ? "–" : value === 0 || value >= 10 ? value.toFixed(0) : value.toFixed(2));
    const series = [["submitted", "submitted"], ["finished", "finished"], ["failed", "failed"]];
    const curve = new Curves.Curve(document.getElementById("curves"), "Tasks a second", series, rate);
    async function show() {
        if (document.hidden) return;
        const answer = await fetch(page.dataset.past, { headers: { Accept: "application/json" } }).catch(() => null);
        if (answer && answer.ok) curve.show(await answer.json());
    }
    show();
    setInterval(show, 60000);
})();
