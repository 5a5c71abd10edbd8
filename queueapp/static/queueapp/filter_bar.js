/* Completes the word at the caret of the filter bar: the names of filters, and of some the values. What comes from a
   task (queues' names) is written as text. */
"use strict";
(() => {
    const bar = document.getElementById("searchbar");
    const list = document.getElementById("searchbar-words");
    if (!bar || !list) return;
    const known = JSON.parse(bar.dataset.words);
    let options = [];
    let chosen = -1;

    /* The word at the caret: where it begins, and what stands of it before the caret. */
    function word() {
        const before = bar.value.slice(0, bar.selectionStart);
        const begin = before.search(/\S*$/);
        return {begin, text: before.slice(begin)};
    }

    function found() {
        const {text} = word();
        const colon = text.indexOf(":");
        if (colon < 0) {
            return Object.entries(known.filters)
                .map(([name, meaning]) => ({text: name.endsWith(".") ? name : `${name}:`, meaning}))
                .filter((option) => option.text.startsWith(text));
        }
        const comma = text.lastIndexOf(",");
        const done = text.slice(0, Math.max(colon, comma) + 1);
        return (known.values[text.slice(0, colon)] || [])
            .map((value) => ({text: done + value, meaning: ""}))
            .filter((option) => option.text.startsWith(text) && option.text !== text);
    }

    function show() {
        options = found();
        chosen = -1;
        list.replaceChildren(...options.map((option, place) => {
            const item = document.createElement("li");
            item.id = `searchbar-word-${place}`;
            item.setAttribute("role", "option");
            item.setAttribute("aria-selected", "false");
            const name = document.createElement("b");
            name.textContent = option.text;
            item.append(name, option.meaning);
            item.addEventListener("mousedown", (event) => {
                event.preventDefault();
                take(place);
            });
            return item;
        }));
        open(options.length > 0);
    }

    function open(isOpen) {
        list.hidden = !isOpen;
        bar.setAttribute("aria-expanded", String(isOpen));
        if (!isOpen) choose(-1);
    }

    function choose(place) {
        chosen = place;
        [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === place)));
        if (place < 0) {
            bar.removeAttribute("aria-activedescendant");
            return;
        }
        bar.setAttribute("aria-activedescendant", list.children[place].id);
        list.children[place].scrollIntoView({block: "nearest"});
    }

    function take(place) {
        const {begin} = word();
        const text = options[place].text;
        const rest = bar.value.slice(bar.selectionStart);
        bar.value = bar.value.slice(0, begin) + text + rest;
        bar.selectionStart = bar.selectionEnd = begin + text.length;
        show();
    }

    bar.addEventListener("input", show);
    bar.addEventListener("blur", () => open(false));
    bar.addEventListener("keydown", (event) => {
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            if (list.hidden) show();
            if (!options.length) return;
            const step = event.key === "ArrowDown" ? 1 : -1;
            choose(chosen < 0 && step < 0 ? options.length - 1 : (chosen + step + options.length) % options.length);
            event.preventDefault();
        } else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) {
            take(chosen);
            event.preventDefault();
        } else if (event.key === "Escape" && !list.hidden) {
            open(false);
            event.preventDefault();
        }
    });
})();
