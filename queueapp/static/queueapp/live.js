"use strict";
/* How a page is kept up to date: snapshots over the operators' WebSocket or, where it does not come through, by
   asking for them; and how they are written into the page. All that comes is written as text. */
const Live = (() => {
    const POLL_MS = 2000, RETRY_MS = 1000, LONGEST_RETRY_MS = 30000;
    const SILENCE_MS = 25000; // the server gives a sign every ten seconds
    const NOT_ALLOWED = 4403;

    /* Watches what the address speaks of, as long as the page is in sight, until `end()`. */
    class Watch {
        constructor(address, show) {
            this.address = address;
            this.show = show;
            this.mode = "connecting"; // then live, polling, ended
            this.isRefused = false;
            this.startedAt = Date.now();
            this.newsAt = 0;
            this.heardAt = 0; // of this socket: when it was begun, or gave a sign
            this.socket = this.retry = this.poll = null;
            this.failures = 0;
            this.isAsking = false;
            document.addEventListener("visibilitychange", () => this.look());
            setInterval(() => {
                if (this.socket && Date.now() - this.heardAt > SILENCE_MS) this.lose();
            }, SILENCE_MS / 5);
            this.look();
        }
        look() {
            if (this.mode === "ended") return;
            if (document.hidden) this.drop();
            else if (!this.socket) {
                this.connect();
                if (this.mode === "polling") this.ask();
            }
        }
        end() {
            this.mode = "ended";
            this.drop();
        }
        refuse() {
            this.isRefused = true;
            this.end();
        }
        /* That what is shown is old, once there were no news for so long; else nothing. */
        warning(afterMs) {
            if (this.isRefused) return "You may not see this any more: what is shown is old.";
            const knownAt = this.newsAt || this.startedAt;
            if (this.mode === "ended" || Date.now() - knownAt <= afterMs) return "";
            return `No news since ${clock(new Date(knownAt).toISOString())}: what is shown is old.`;
        }
        drop() {
            clearTimeout(this.retry);
            clearTimeout(this.poll);
            const socket = this.socket;
            this.socket = null;
            if (socket) socket.close();
        }
        connect() {
            this.drop();
            const address = new URL(this.address, location.href);
            address.pathname = "/work/operators";
            address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
            const socket = this.socket = new WebSocket(address);
            this.heardAt = Date.now();
            socket.onmessage = (message) => {
                if (socket !== this.socket) return;
                const snapshot = message.data && JSON.parse(message.data);
                if (this.isOfAnother(snapshot)) {
                    this.lose();
                    return;
                }
                this.mode = "live";
                this.heardAt = Date.now();
                this.failures = 0;
                clearTimeout(this.poll);
                this.take(snapshot);
            };
            socket.onclose = (event) => {
                if (socket !== this.socket) return;
                if (event.code === NOT_ALLOWED) this.refuse();
                else this.lose();
            };
        }
        /* Ask at once, and come back after a while: not all at the same time to a server that has just started. */
        lose() {
            this.drop();
            this.mode = "polling";
            const wait = Math.min(RETRY_MS * 2 ** this.failures++, LONGEST_RETRY_MS);
            this.retry = setTimeout(() => this.connectBeside(), wait * (0.5 + Math.random() / 2));
            this.ask();
        }
        /* While it tries to, asking goes on. */
        connectBeside() {
            const poll = this.poll;
            this.poll = null;
            this.connect();
            this.poll = poll;
        }
        async ask() {
            if (this.isAsking) return;
            this.isAsking = true;
            try {
                const snapshot = JSON.parse(await read(this.address, "application/json"));
                if (this.mode === "polling" && !this.isOfAnother(snapshot)) this.take(snapshot);
            } catch (error) { // the page says itself how old it is
                if (error.message === "403") this.refuse();
            }
            this.isAsking = false;
            if (this.mode === "polling" && !document.hidden) this.poll = setTimeout(() => this.ask(), POLL_MS);
        }
        /* While the server is brought to another version: a process of the one before tells all of the overview. */
        isOfAnother(snapshot) {
            return Boolean(snapshot?.problems) && new URL(this.address, location.href).searchParams.has("watch");
        }
        take(snapshot) {
            this.newsAt = Date.now();
            if (snapshot !== "") this.show(snapshot);
        }
    }

    async function read(address, kind) {
        const answer = await fetch(address, { headers: { Accept: kind } });
        if (!answer.ok) throw new Error(String(answer.status));
        if (answer.redirected) throw new Error("login"); // which is another page than that asked for
        return answer.text();
    }

    // ---- into the page

    const clock = (text) => `${text.slice(0, 10) === new Date().toISOString().slice(0, 10) ? "" : `${text.slice(0, 10)} `}${text.slice(11, 19)}Z`;

    /* As the server says it: the two largest units. */
    function age(seconds) {
        const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
        const at = units.findIndex(([length]) => seconds >= length);
        if (at < 0 || at === 3) return `${Math.floor(seconds)} s`;
        return units.slice(at, at + 2).map(([length, unit], place) => {
            const within = place ? seconds % units[at][0] : seconds;
            return `${Math.floor(within / length)} ${unit}`;
        }).join(" ");
    }
    const WORDS = {
        age: (value) => (value === null ? "-" : age(value)),
        more: (value) => (value ? `+${value}` : ""),
    };
    const asText = (value) => (value === null || value === "" ? "-" : String(value));

    /* The values into the elements that are for them. */
    function write(root, values) {
        for (const place of root.querySelectorAll("[data-value]")) {
            if (!Object.hasOwn(values, place.dataset.value)) continue;
            const kind = place.dataset.as, text = (WORDS[kind] || asText)(values[place.dataset.value]);
            if (place.textContent === text) continue;
            if (kind === "health") place.className = `health ${text.replaceAll(" ", "-")}`;
            if (kind === "state") moreLike(place.closest("a"), place.textContent, text);
            place.textContent = text;
        }
    }
    /* The link to tasks in the same state leads to those of the new one. */
    function moreLike(link, old, state) {
        if (!link) return;
        const address = new URL(link.href);
        address.searchParams.set("q", (address.searchParams.get("q") || "").replace(`state:${old}`, `state:${state}`));
        link.href = address;
    }

    /* But for the token of its forms, which is another each time that the server writes it. */
    function withoutTokens(part) {
        const copy = part.cloneNode(true);
        for (const each of copy.querySelectorAll("[name=csrfmiddlewaretoken]")) each.remove();
        return copy;
    }
    const isTheSame = (old, made) => withoutTokens(old).isEqualNode(withoutTokens(made));
    const isTypedIn = (part) => [...part.querySelectorAll("input")].some((each) => each.value !== each.defaultValue);

    /* Takes from the page, as the server makes it now, each part that is another; what is unfolded, has the focus or
       was typed in stays so. */
    async function takeParts() {
        const fresh = new DOMParser().parseFromString(await read(location.href, "text/html"), "text/html");
        for (const old of document.querySelectorAll("[data-live]")) {
            const made = fresh.getElementById(old.id);
            if (!made || isTheSame(old, made)) continue;
            const focused = old.contains(document.activeElement) ? document.activeElement : null;
            if (focused && old.dataset.live !== "always") continue;
            if (isTypedIn(old)) continue;
            for (const each of old.querySelectorAll("details[id]")) {
                const again = made.querySelector(`#${CSS.escape(each.id)}`);
                if (again) again.open = each.open;
            }
            old.replaceWith(document.adoptNode(made));
            if (focused) [...made.querySelectorAll("a, button")].find((each) => each.textContent === focused.textContent)?.focus();
        }
        return fresh;
    }

    /* Calls `take` when it is wanted, but not again before so many milliseconds, and later each time that it fails;
       one at a time. What is wanted takes no more than a twentieth of the time, however fast things change; what is
       only due a two-hundredth: ten pages together a twentieth of a core of the server's. */
    function atMostEvery(ms, take) {
        let doneAt = Date.now(), tookMs = 0, failures = 0, isTaking = false;
        const hasRested = (times, wantedMs) => Date.now() - doneAt >= Math.max(wantedMs, Math.min(tookMs * times, 60000));
        return {
            isDue: (wantedMs) => hasRested(200, wantedMs),
            async now() {
                if (isTaking || !hasRested(20, Math.min(ms * 2 ** failures, 60000))) return false;
                const begunAt = Date.now();
                isTaking = true;
                try {
                    await take();
                    failures = 0;
                    return true;
                } catch {
                    failures += 1;
                    return false;
                } finally {
                    isTaking = false;
                    doneAt = Date.now();
                    tookMs = doneAt - begunAt;
                }
            },
        };
    }

    return { Watch, write, takeParts, atMostEvery, read, clock };
})();
