"use strict";
/* A page whose server says what it watches: values are written where they stand, and nothing moves. What else has
   changed of a row's page is taken from the page itself; of a list a line says how much, and leads to it. */
(() => {
    const line = document.getElementById("watch");
    const LOOK_MS = 1000, PARTS_MS = 15000, LINE_MS = 5000, STALE_MS = 25000;
    const PASSING = ["heartbeat", "oldest_wait"]; // of which nothing else on the page speaks
    const TELLING = ["state", "health", "paused"]; // on which most of the page depends
    const OVER = ["gone", "done", "stopped"];

    const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;
    const tell = (target, values) => target.dispatchEvent(new CustomEvent("live", { detail: values, bubbles: true }));
    const chosen = (values, names, isIn) => JSON.stringify(Object.entries(values).filter(([name]) => names.includes(name) === isIn));

    // ---- a list

    const rows = [...document.querySelectorAll("[data-row]")].map((place) => {
        const row = place.closest("tr, li");
        return { key: place.dataset.row, row, state: row?.querySelector("[data-value=state]")?.textContent };
    });

    function showRows(now) {
        let moved = 0;
        for (const { key, row, state } of rows) {
            const values = now.rows[key];
            if (values === undefined) continue; // it did not fit into the address
            if (!values) {
                moved += 1;
                continue;
            }
            if (state !== undefined && values.state !== state) moved += 1;
            Live.write(row, values);
            tell(row, values);
        }
        const newer = `${now.newer}${now.newer_is_exact ? "" : "+"}`;
        wanted = [
            now.newer ? counted(newer === "1" ? 1 : newer, `newer ${line.dataset.one}`, `newer ${line.dataset.many}`) : "",
            now.causes ? counted(now.causes, "cause that is not shown", "causes that are not shown") : "",
            moved ? `${moved} of these ${moved === 1 ? "has" : "have"} moved on` : "",
        ].filter(Boolean).join(", ");
    }

    /* What stands in the line is wanted there; a screen reader says it, so that it does not change all the time. */
    let wanted = "", toldAt = 0;
    const words = document.createElement("span"), show = document.createElement("a");
    show.href = location.pathname + location.search;
    show.textContent = "Show";

    function tellLine() {
        const warning = watch.warning(STALE_MS), text = warning || wanted;
        line.classList.toggle("stale", Boolean(warning));
        if (text === words.textContent || (words.textContent && text && Date.now() - toldAt < LINE_MS)) return;
        toldAt = Date.now();
        words.textContent = text;
        if (text) line.replaceChildren(words, " ", show);
        else line.replaceChildren();
    }

    // ---- one thing

    const parts = Live.atMostEvery(LOOK_MS, Live.takeParts);
    let before = null, isAnother = false, isBehind = true; // since the page was made something may have happened

    function showThing(values) {
        if (values === null) return;
        Live.write(document, values);
        tell(document, values);
        if (before !== null) {
            isAnother ||= chosen(before, TELLING, true) !== chosen(values, TELLING, true);
            isBehind ||= chosen(before, PASSING, false) !== chosen(values, PASSING, false);
        }
        before = values;
        if (OVER.includes(values.state)) isAnother = true;
    }
    async function takeParts() {
        if (!(isAnother || (isBehind && parts.isDue(PARTS_MS)))) return;
        const isOver = OVER.includes(before?.state), wasAnother = isAnother;
        isAnother = isBehind = false;
        if (!(await parts.now())) {
            isAnother ||= wasAnother;
            isBehind = true;
        } else if (isOver) watch.end();
    }

    const watch = new Live.Watch(line.dataset.now, (now) => (now?.rows ? showRows(now) : showThing(now)));
    setInterval(() => {
        if (document.hidden) return;
        tellLine();
        if (before !== null && watch.mode !== "ended") takeParts();
    }, LOOK_MS);
})();
