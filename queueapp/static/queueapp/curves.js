"use strict";
/* Curves over time as SVG: a few hundred points, a gap where nothing was written, a read-out under the pointer or
   the arrow keys. */
const Curves = (() => {
    const WIDTH = 600, HEIGHT = 160, LEFT = 56, BOTTOM = 18, TOP = 6;

    function svg(name, attributes, parent) {
        const element = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        if (parent) parent.append(element);
        return element;
    }

    function nice(largest) {
        if (!(largest > 0)) return 1;
        const power = 10 ** Math.floor(Math.log10(largest));
        return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= largest);
    }

    class Curve {
        /* `series`: a list of [key, label]; `write` makes a text of a value. */
        constructor(parent, title, series, write) {
            this.title = title; this.series = series; this.write = write; this.at = null; this.past = null;
            const figure = document.createElement("figure");
            const caption = document.createElement("figcaption");
            caption.textContent = title;
            this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: "0" });
            this.legend = document.createElement("p");
            this.legend.className = "legend";
            figure.append(caption, this.svg, this.legend);
            parent.append(figure);
            this.svg.addEventListener("pointermove", (event) => {
                const box = this.svg.getBoundingClientRect();
                this.point(((event.clientX - box.left) / box.width) * this.width());
            });
            this.svg.addEventListener("pointerleave", () => { this.at = null; this.draw(); });
            this.svg.addEventListener("blur", () => { this.at = null; this.draw(); });
            this.svg.addEventListener("keydown", (event) => {
                const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
                if (!step || !this.past || !this.past.points.length) return;
                event.preventDefault();
                const last = this.past.points.length - 1;
                this.at = Math.min(last, Math.max(0, (this.at === null ? last + (step > 0 ? 0 : 1) : this.at) + step));
                this.draw();
            });
            new ResizeObserver(() => this.draw()).observe(this.svg);
        }

        /* One unit is one pixel, so that texts keep their shape however wide the page is. */
        width() { return this.svg.getBoundingClientRect().width || WIDTH; }

        x(time) { return LEFT + ((time - this.past.from) / (this.past.to - this.past.from)) * (this.width() - LEFT); }

        point(x) {
            if (!this.past) return;
            let best = null, distance = Infinity;
            this.past.points.forEach((point, index) => {
                const away = Math.abs(this.x(point.at) - x);
                if (away < distance) { best = index; distance = away; }
            });
            this.at = best;
            this.draw();
        }

        show(past) { this.past = past; this.at = null; this.draw(); }

        draw() {
            if (!this.past) return;
            const { points, step, from, to } = this.past, width = this.width();
            this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
            this.svg.replaceChildren();
            const values = points.flatMap((point) => this.series.map(([key]) => point[key] ?? 0));
            const top = nice(Math.max(0, ...values));
            const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
            for (const value of [0, top / 2, top]) {
                svg("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }, this.svg);
                svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, this.svg).textContent = this.write(value);
            }
            const days = to - from > 90000;
            for (const share of [0, 0.5, 1]) {
                const anchor = ["start", "middle", "end"][share * 2];
                const label = svg("text", { x: LEFT + share * (width - LEFT), y: HEIGHT - 3, "text-anchor": anchor }, this.svg);
                label.textContent = Curves.time(from + share * (to - from), days);
            }
            this.series.forEach(([key], index) => {
                let path = "", before = null;
                for (const point of points) {
                    const value = point[key];
                    if (value === null || value === undefined || point.at < from) { before = null; continue; }
                    const isNew = before === null || point.at - before > step * 1.5;
                    path += `${isNew ? "M" : "L"}${this.x(point.at).toFixed(1)} ${y(value).toFixed(1)}${isNew ? "h1" : ""}`;
                    before = point.at;
                }
                if (path) svg("path", { class: `s${index + 1}`, d: path }, this.svg);
            });
            const shown = this.at === null ? points[points.length - 1] : points[this.at];
            if (this.at !== null && shown) {
                svg("line", { class: "cursor", x1: this.x(shown.at), x2: this.x(shown.at), y1: TOP, y2: HEIGHT - BOTTOM }, this.svg);
            }
            const read = this.series.map(([key, label]) => `${label} ${shown ? this.write(shown[key]) : "–"}`);
            this.legend.replaceChildren(...read.map((text, index) => {
                const item = document.createElement("span");
                item.className = `s${index + 1}`;
                item.textContent = `— ${text}`;
                return item;
            }));
            if (this.at !== null && shown) this.legend.append(Curves.time(shown.at, days));
            this.svg.setAttribute("aria-label", `${this.title}: ${read.join(", ")}`);
        }
    }

    return {
        Curve,
        time(seconds, withDay) {
            const text = new Date(seconds * 1000).toISOString();
            return withDay ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, 16);
        },
    };
})();
