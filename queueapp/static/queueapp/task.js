"use strict";
/* A task's page: its progress once a second while it is not over, and, where it has moved on, what the page says of
   it, taken from the page itself. Texts are written as texts. */
(() => {
    const page = document.getElementById("task");
    const POLL_MS = 1000, EXPLAINED_MS = 10000;
    let isOver = "over" in page.dataset, explainedAt = Date.now();

    function showProgress(now) {
        const line = document.getElementById("task-progress");
        line.hidden = now.progress === null;
        if (line.hidden) return;
        line.querySelector("progress").value = now.progress;
        document.getElementById("progress-number").textContent = `${Math.round(now.progress * 100)}%`;
        document.getElementById("progress-message").textContent = now.progress_message;
    }
    const isTypedIn = (part) => [...part.querySelectorAll("input")].some((each) => each.value !== each.defaultValue);

    /* Every part that is another now; what is unfolded, has the focus or was typed in stays so. */
    async function takeAnew() {
        const response = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!response.ok) throw new Error(String(response.status));
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        const state = fresh.getElementById("task");
        if (!state) return;
        for (const old of document.querySelectorAll("[data-live]")) {
            const made = fresh.getElementById(old.id);
            if (!made || old.isEqualNode(made)) continue;
            if (old.contains(document.activeElement) && old.id !== "task-tools") continue;
            if (isTypedIn(old)) continue;
            for (const each of old.querySelectorAll("details[id]")) {
                const again = made.querySelector(`#${CSS.escape(each.id)}`);
                if (again) again.open = each.open;
            }
            old.replaceWith(document.adoptNode(made));
        }
        Object.assign(page.dataset, { state: state.dataset.state, attempt: state.dataset.attempt });
        isOver = "over" in state.dataset;
        explainedAt = Date.now();
    }
    async function look() {
        const response = await fetch(page.dataset.now, { headers: { Accept: "application/json" } });
        if (!response.ok) throw new Error(String(response.status));
        const now = await response.json();
        showProgress(now);
        const hasMoved = now.state !== page.dataset.state || String(now.attempt) !== page.dataset.attempt;
        if (hasMoved || Date.now() - explainedAt > EXPLAINED_MS) await takeAnew();
    }
    async function poll() {
        if (!document.hidden) await look().catch(() => {});
        if (!isOver) setTimeout(poll, POLL_MS);
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

    if (!isOver) setTimeout(poll, POLL_MS);
})();
