"use strict";
/* Operations that run are asked once a second how far they are. What comes is written as text. */
(() => {
    const POLL_MS = 1000;
    const counted = (number) => number.toLocaleString("en");

    // As the server says it.
    function words(operation) {
        if (operation.total === null && operation.state === "running") return "counting";
        const left = operation.unchanged ? `, ${counted(operation.unchanged)} left as they were` : "";
        return `${operation.state}: ${counted(operation.done)} of ${counted(operation.total ?? operation.done)}${left}`;
    }

    function show(place, operation) {
        const bar = place.querySelector("progress"), said = place.querySelector("[role=status]");
        place.dataset.state = operation.state;
        if (operation.total !== null) {
            bar.max = operation.total || 1;
            bar.value = operation.total ? operation.done : operation.state === "running" ? 0 : 1;
        }
        said.classList.remove("stale");
        if (said.textContent !== words(operation)) said.textContent = words(operation);
        // Of the page of one operation: there is nothing left to be stopped.
        if (operation.state !== "running") document.querySelector(".object-tools input[value=stop]")?.closest("li").remove();
    }

    function missing(place) {
        const said = place.querySelector("[role=status]");
        if (!said.classList.contains("stale")) said.append(", no news since");
        said.classList.add("stale");
    }

    async function follow(place) {
        while (place.dataset.state === "running") {
            await new Promise((resolve) => setTimeout(resolve, POLL_MS));
            try {
                const response = await fetch(place.dataset.operation, { headers: { Accept: "application/json" } });
                if (!response.ok) throw new Error(response.status);
                show(place, await response.json());
            } catch {
                missing(place);
            }
        }
    }

    const start = () => document.querySelectorAll(".operation[data-state=running]").forEach(follow);
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
})();
