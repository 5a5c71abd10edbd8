"use strict";
/* Curves over time, drawn by uPlot: a gap where no process ran, and a cursor that all curves of a page share, moved by
   the pointer or the keys. A canvas says nothing to who cannot see it: to them each curve is a slider over its moments
   (role, arrow keys, Home, End), whose value is read out in words. */
const Curves = (() => {
    const HEIGHT = 190, LEFT = 64, BOTTOM = 46, FONT_PX = 11;
    const DAY = 86400, HIDDEN = { left: -10, top: -10 }, NOBODY = "no process was running";
    /* What the labels of an axis may be multiples of. Of three digits none is cut off by who writes them. */
    const NUMBERS = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((step) => Number(`${step}e${power - 2}`)));
    const TIMES = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
        3600, 7200, 10800, 21600, 43200, DAY, 2 * DAY, 5 * DAY, 10 * DAY,
    ];
    const KEYS = {
        ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity,
    };

    const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const day = (seconds) => new Date(seconds * 1000).toISOString().slice(5, 10);
    const clock = (seconds, step) => new Date(seconds * 1000).toISOString().slice(11, step < 60 ? 19 : 16);

    /* The day stands below the first time and below each midnight. */
    function times(plot, splits, axis, space, step) {
        return splits.map((at, index) => {
            if (step >= DAY) return day(at);
            return clock(at, step) + (index === 0 || at % DAY === 0 ? `\n${day(at)}` : "");
        });
    }

    /* Points come for the steps in which a process ran. Where none did, the first and the last moment without are rows
       of their own, which have no values: the line breaks there, and the cursor does not jump over it. */
    function withGaps({ points, step, from, to }) {
        const rows = [];
        let due = from;
        for (const point of points.filter((each) => each.at >= from)) {
            const last = point.at - step;
            if (last >= due) rows.push({ at: due, isGap: true });
            if (last > due) rows.push({ at: last, isGap: true });
            rows.push(point);
            due = point.at + step;
        }
        return rows.length ? rows : [{ at: from, isGap: true }, { at: to, isGap: true }];
    }

    /* A value between two gaps is no line: it is drawn as a dot. */
    function alone(plot, index) {
        const values = plot.data[index], isThere = (at) => typeof values[at] === "number";
        return [...values.keys()].filter((at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1));
    }

    /* By half a line and its edge: a steep one would show beside a gap that is as narrow as itself. */
    function wider(plot, series, first, last, gaps) {
        const more = 1.25 * devicePixelRatio;
        return gaps.map(([from, to]) => [from - more, to + more]);
    }

    class Curve {
        /* `series`: a list of [key, label]; `write` makes a text of a value, and of a label of the axis, which is a multiple
           of one of `steps`. */
        constructor(parent, title, series, write, steps = NUMBERS) {
            this.series = series; this.write = write; this.steps = steps; this.plot = null; this.rows = [];
            const figure = document.createElement("figure");
            const caption = document.createElement("figcaption");
            caption.textContent = title;
            this.canvas = document.createElement("div");
            this.canvas.className = "canvas";
            this.legend = document.createElement("p");
            this.legend.className = "legend";
            figure.append(caption, this.canvas, this.legend);
            parent.append(figure);
            for (const [name, value] of Object.entries({ role: "slider", tabindex: "0", "aria-label": title, "aria-valuenow": "0" })) {
                this.canvas.setAttribute(name, value);
            }
            this.canvas.addEventListener("keydown", (event) => {
                if (!this.plot || !(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
                event.preventDefault();
                const last = this.rows.length - 1;
                this.point(Math.min(last, Math.max(0, (this.plot.cursor.idx ?? last) + KEYS[event.key])), true);
            });
            this.canvas.addEventListener("blur", () => this.plot?.setCursor(HIDDEN, true, true));
            new ResizeObserver(() => this.plot?.setSize({ width: this.canvas.clientWidth, height: HEIGHT })).observe(this.canvas);
        }

        /* Whoever reads the value of a moment goes on reading it when newer ones come. */
        show(past) {
            const read = this.rows[this.plot?.cursor.idx]?.at;
            this.past = past; this.rows = withGaps(past);
            const columns = ["at", ...this.series.map(([key]) => key)];
            const data = columns.map((key) => this.rows.map((row) => row[key] ?? null));
            this.plot ??= this.drawn();
            this.plot.batch(() => this.plot.setData(data));
            if (read >= this.rows[0].at) this.point(this.plot.valToIdx(read), false);
            else this.plot.setCursor(HIDDEN);
        }

        drawn() {
            const font = `${FONT_PX}px ${getComputedStyle(this.canvas).fontFamily}`;
            const axis = { font, stroke: color("--body-quiet-color"), grid: { stroke: color("--hairline-color"), width: 1 }, ticks: { show: false } };
            return new uPlot({
                width: this.canvas.clientWidth, height: HEIGHT, padding: [8, null, null, null], legend: { show: false },
                scales: {
                    x: { time: false, range: () => [this.past.from, this.past.to] },
                    y: { range: (plot, least, most) => [0, most > 0 ? most * 1.1 : 1] },
                },
                axes: [
                    { ...axis, size: BOTTOM, space: 64, incrs: TIMES, values: times },
                    { ...axis, size: LEFT, incrs: this.steps, values: (plot, splits) => splits.map((each) => this.write(each).replace(/\.0+\b/, "")) },
                ],
                series: [{}, ...this.series.map((each, index) => ({
                    stroke: color(`--series-${index + 1}`), width: 1.5, gaps: wider,
                    points: { show: false, filter: alone, size: 4, width: 0 },
                }))],
                cursor: {
                    points: { size: 7 },
                    y: false, drag: { x: false, setScale: false }, sync: { key: "curves", scales: ["x", null] },
                    move: (plot, left, top) => [left < 0 ? left : plot.valToPos(plot.data[0][plot.posToIdx(left)], "x"), top],
                },
                hooks: { setCursor: [() => this.tell()] },
            }, null, this.canvas);
        }

        point(index, forAll) {
            this.plot.setCursor({ left: this.plot.valToPos(this.rows[index].at, "x"), top: 0 }, true, forAll);
        }

        /* What is under the cursor, else what came last. */
        tell() {
            const { step, from, to } = this.past, last = this.rows.length - 1;
            const index = this.plot.cursor.idx, row = this.rows[index ?? last];
            const at = (to - from > DAY / 2 ? `${day(row.at)} ` : "") + clock(row.at, step);
            const texts = this.series.map(([key, label]) => `${label} ${this.write(row[key])}`);
            this.legend.replaceChildren(...texts.map((text, at) => {
                const item = document.createElement("span");
                item.className = `s${at + 1}`;
                item.textContent = `— ${text}`;
                return item;
            }));
            if (index !== null) this.legend.append(row.isGap ? `${at}, ${NOBODY}` : at);
            this.canvas.setAttribute("aria-valuemax", last);
            this.canvas.setAttribute("aria-valuenow", index ?? last);
            this.canvas.setAttribute("aria-valuetext", `${at}: ${row.isGap ? NOBODY : texts.join(", ")}`);
        }
    }

    /* A canvas keeps the colours in which it was drawn. */
    function redraw() { uPlot.sync("curves").plots.forEach((plot) => plot.redraw(false)); }
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

    return { Curve, TIMES };
})();
