"use strict";
/* A task's page: its progress while it is not over, and, where it has moved on, what the page says of it, taken from
   the page itself. Texts are written as texts. */
(() => {
    const page = document.getElementById("task");
    const SOON_MS = 1000, EXPLAINED_MS = 10000, STALE_MS = 25000;
    let latest = null;

    function showProgress(now) {
        const line = document.getElementById("task-progress");
        line.hidden = now.progress === null;
        if (line.hidden) return;
        line.querySelector("progress").value = now.progress;
        document.getElementById("progress-number").textContent = `${Math.round(now.progress * 100)}%`;
        document.getElementById("progress-message").textContent = now.progress_message;
    }
    function tell(warning) {
        const line = document.getElementById("watch");
        if (line.textContent !== warning) line.textContent = warning;
        line.classList.toggle("stale", Boolean(warning));
    }
    const parts = Live.atMostEvery(SOON_MS, async () => {
        const fresh = (await Live.takeParts()).getElementById("task");
        if (!fresh) return;
        Object.assign(page.dataset, { state: fresh.dataset.state, attempt: fresh.dataset.attempt });
        if ("over" in fresh.dataset) end();
    });
    function look() {
        if (document.hidden || latest === null) return;
        const hasMoved = latest.state !== page.dataset.state || String(latest.attempt) !== page.dataset.attempt;
        if (hasMoved || parts.isDue(EXPLAINED_MS)) parts.now();
    }
    function follow() {
        const watch = new Live.Watch(page.dataset.now, (now) => {
            latest = now;
            if (now === null) return;
            showProgress(now);
            look();
        });
        const looking = setInterval(() => {
            if (document.hidden) return;
            tell(watch.warning(STALE_MS));
            if (watch.mode !== "ended") look();
        }, SOON_MS);
        return () => {
            watch.end();
            clearInterval(looking);
            tell("");
        };
    }

    /* The whole text, also where the page shows its beginning. A browser that gives no page its clipboard, because
       the connection is not a safe one, gets the shown text selected. */
    async function copy(button) {
        const shown = button.closest("details").querySelector("pre");
        try {
            const response = await fetch(button.dataset.copies);
            if (!response.ok) throw new Error(String(response.status));
            await navigator.clipboard.writeText(await response.text());
            button.textContent = "Copied";
        } catch {
            getSelection().selectAllChildren(shown);
            button.textContent = "Selected: copy it by the keyboard";
        }
    }
    page.addEventListener("click", (event) => {
        const button = event.target.closest("[data-copies]");
        if (button) copy(button);
    });

    const end = "over" in page.dataset ? () => {} : follow();
})();
