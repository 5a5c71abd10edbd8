"use strict";
/* A key that has just been made: copied by a button, and gone from the page when it is left, so that no way back
   finds it. */
(() => {
    const key = document.getElementById("key"), said = document.getElementById("copied");
    document.getElementById("copy-key").addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(key.textContent);
            said.textContent = "Copied.";
        } catch {  // a browser gives the clipboard to no page that came without TLS
            getSelection().selectAllChildren(key);
            said.textContent = "Selected: copy it with the keyboard.";
        }
    });
    addEventListener("pagehide", () => key.remove());
})();
