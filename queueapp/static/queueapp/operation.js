"use strict";
/* Operations that run: how far they are, as the page is told (`watch.js`). What comes is written as text. */
(() => {
    const counted = (number) => number.toLocaleString("en");

    // As the server says it.
    function words(operation) {
        if (!operation.is_counted && operation.state === "running") return `counting, ${counted(operation.total)} so far`;
        const left = operation.unchanged ? `, ${counted(operation.unchanged)} left as they were` : "";
        return `${operation.state}: ${counted(operation.done)} of ${counted(operation.total)}${left}`;
    }

    document.addEventListener("live", (event) => {
        const operation = event.detail, place = event.target.querySelector(".operation");
        if (!place) return;
        const bar = place.querySelector("progress"), said = place.querySelector("[role=status]");
        place.dataset.state = operation.state;
        if (operation.is_counted) {
            bar.max = operation.total || 1;
            bar.value = operation.total ? operation.done : operation.state === "running" ? 0 : 1;
        }
        if (said.textContent !== words(operation)) said.textContent = words(operation);
    });
})();
