"use strict";

// The dialog in which a class is found by typing: arrows move, Enter takes, Escape closes.
function classChooser(dialog, input, list, names) {
  let shown = [];
  let active = 0;
  let done = null;

  function mark(index) {
    active = Math.max(0, Math.min(index, shown.length - 1));
    [...list.children].forEach((item, place) => {
      item.setAttribute("aria-selected", String(place === active));
    });
    const item = list.children[active];
    if (item) item.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", item ? item.id : "");
  }

  function fill() {
    const text = input.value.trim().toLowerCase();
    const starts = names.filter((name) => name.toLowerCase().startsWith(text));
    const inside = names.filter((name) => !starts.includes(name) && name.toLowerCase().includes(text));
    shown = [...starts, ...inside].slice(0, 200);
    list.replaceChildren(...shown.map((name, place) => {
      const item = document.createElement("li");
      item.id = `class-${place}`;
      item.setAttribute("role", "option");
      item.textContent = name;
      item.addEventListener("click", () => take(place));
      return item;
    }));
    mark(0);
  }

  function take(place) {
    const name = shown[place];
    if (name === undefined) return;
    const answer = done;
    dialog.close();
    if (answer) answer(name);
  }

  input.addEventListener("input", fill);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark(active + 1);
    else if (event.key === "ArrowUp") mark(active - 1);
    else if (event.key === "Enter") take(active);
    else return;
    event.preventDefault();
  });
  return (answer) => {
    done = answer;
    input.value = "";
    fill();
    dialog.showModal();
    input.focus();
  };
}
