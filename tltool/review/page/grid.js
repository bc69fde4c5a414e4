"use strict";

// Many images at once: tiles that are selected by click, shift-click or the space bar.
const selection = { chosen: new Set(), last: null, shown: 60 };

function tile(place, entry) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.dataset.place = place;
  button.setAttribute("aria-pressed", String(selection.chosen.has(place)));
  const image = document.createElement("img");
  image.src = pictureOf(entry.id, "small");
  image.loading = "lazy";
  image.alt = entry.file;
  const label = document.createElement("span");
  label.textContent = entry.suggested ? `${labelText(entry)} → ${entry.suggested}?` : labelText(entry);
  const done = document.createElement("span");
  done.className = "done";
  done.textContent = decisionText(entry.decision);
  button.append(image, label, done);
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur();  // a mouse: keys belong to the page again
    select(place, event.shiftKey);
  });
  return button;
}

function select(place, range) {
  if (range && selection.last !== null) {
    const [from, to] = [selection.last, place].sort((a, b) => a - b);
    for (let one = from; one <= to; one += 1) selection.chosen.add(one);
  } else if (selection.chosen.has(place)) selection.chosen.delete(place);
  else selection.chosen.add(place);
  selection.last = place;
  for (const one of part("tiles").children) {
    one.setAttribute("aria-pressed", String(selection.chosen.has(Number(one.dataset.place))));
  }
  showSelected();
}

function showSelected() {
  part("selected").textContent = `${selection.chosen.size} selected`;
}

async function drawGrid(clear) {
  if (clear) selection.chosen.clear();
  const last = Math.min(selection.shown, review.queue.count);
  const tiles = [];
  for (let place = 0; place < last; place += 1) tiles.push(tile(place, await entryAt(place)));
  const focused = document.activeElement?.dataset?.place;
  part("tiles").replaceChildren(...tiles);
  if (focused !== undefined) part("tiles").children[focused]?.focus();
  part("more").hidden = last === review.queue.count;
  showSelected();
}

function toggleGrid() {
  review.grid = !review.grid;
  part("grid").hidden = !review.grid;
  part("grid-toggle").setAttribute("aria-pressed", String(review.grid));
  part("one").hidden = review.grid;
  if (review.grid) {
    part("grid").prepend(part("actions"));
    part("accept").hidden = part("keep").hidden = false;
    part("suggested").textContent = "suggestions";
    drawGrid(true).catch((error) => showStatus(error.message));
  } else {
    part("moves").before(part("actions"));
    show(review.at).catch((error) => showStatus(error.message));
  }
}
