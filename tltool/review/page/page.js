"use strict";

const part = (id) => document.getElementById(id);
const WINDOW = 60; // entries in one request
const AHEAD = 4; // images that are loaded before they are shown
const NEAR_END = 10;
const review = { queues: [], queue: null, entries: new Map(), at: 0, made: [], grid: false };
const preloaded = new Map();
let chooseClass = null;
let neighboursOn = false;
let heatOn = false;

function showStatus(text) {
  part("status").textContent = text;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The review has ended: start it again with tltool review.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `The server returned status ${response.status}`);
  return body;
}

function pictureOf(id, size) {
  return `image/${id}?size=${size}`;
}

// Entries are fetched in windows, so that a queue of any length needs no more memory here.
async function entryAt(place) {
  if (!review.entries.has(place)) await fetchWindow(place);
  return review.entries.get(place);
}

async function fetchWindow(place) {
  const start = Math.floor(place / WINDOW) * WINDOW;
  const name = review.queue.name;
  const body = await request(`api/queue/${name}?start=${start}&count=${WINDOW}`);
  if (name !== review.queue.name) return;
  if (review.entries.size > 20 * WINDOW && !review.grid) review.entries.clear();
  body.entries.forEach((entry, offset) => review.entries.set(start + offset, entry));
}

function preload(place) {
  for (let next = place + 1; next <= place + AHEAD; next += 1) {
    const entry = review.entries.get(next);
    if (!entry || preloaded.has(entry.id)) continue;
    const image = new Image();
    image.src = pictureOf(entry.id, "large");
    image.decode().catch(() => {});
    preloaded.set(entry.id, image);
  }
  while (preloaded.size > 4 * AHEAD) preloaded.delete(preloaded.keys().next().value);
}

function labelText(entry) {
  return entry.label || "none yet";
}

function showProgress() {
  const { count, decided } = review.queue;
  part("bar").max = count;
  part("bar").value = decided;
  part("count").textContent = `${decided} of ${count} decided`;
}

function decisionText(decision) {
  if (!decision) return "";
  const own = decision.action ? `You: ${decision.words}` : "";
  return [own, ...decision.others].filter(Boolean).join(" · ");
}

function showDecision(decision) {
  const box = part("decision");
  box.textContent = decisionText(decision) + (decision?.conflict ? " (people disagree)" : "");
  box.hidden = !decision;
  box.classList.toggle("conflict", Boolean(decision?.conflict));
  part("undo").disabled = !decision?.action && review.made.length === 0;
}

async function show(place) {
  const count = review.queue.count;
  review.at = Math.max(0, Math.min(place, count - 1));
  const at = review.at;
  const entry = await entryAt(at);
  if (!entry || at !== review.at) return;
  heatOn = false;
  part("heat").setAttribute("aria-pressed", "false");
  part("photo").src = pictureOf(entry.id, "large");
  part("photo").alt = `${entry.file}, label ${labelText(entry)}`;
  part("file").textContent = `${at + 1} / ${count} · ${entry.file}`;
  part("label").textContent = labelText(entry);
  part("keep").hidden = !entry.label;
  part("split").textContent = entry.split;
  part("reason").textContent = entry.reason;
  part("suggested").textContent = entry.suggested;
  part("accept").hidden = !entry.suggested;
  part("back").disabled = at === 0;
  part("next").disabled = at === count - 1;
  showDecision(entry.decision);
  history.replaceState(null, "", `#queue=${review.queue.name}&at=${at}`);
  if (at + NEAR_END < count) entryAt(at + NEAR_END).then(() => preload(at)).catch(() => {});
  preload(at);
  if (neighboursOn) showNeighbours(entry).catch((error) => showStatus(error.message));
}

function current() {
  return review.entries.get(review.at);
}

function chosenEntries() {
  if (!review.grid) return [current()].filter(Boolean);
  return [...selection.chosen].sort((a, b) => a - b).map((place) => review.entries.get(place)).filter(Boolean);
}

async function send(images, action, label = "") {
  const body = await request("api/decide", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ images, action, label }),
  });
  for (const entry of review.entries.values()) {
    if (String(entry.id) in body.decisions) entry.decision = body.decisions[entry.id];
  }
}

async function refreshQueues() {
  const state = await request("api/review");
  review.queues = state.queues;
  review.queue = state.queues.find((queue) => queue.name === review.queue.name) || state.queues[0];
  fillQueues();
  showProgress();
}

// Decisions are sent one after the other; a key that is pressed meanwhile waits for its turn.
let turn = Promise.resolve();
function inTurn(work) {
  turn = turn.then(work).catch((error) => showStatus(error.message));
  return turn;
}

function decide(action, label) {
  return inTurn(async () => {
    const entries = chosenEntries();
    if (!entries.length) {
      showStatus("Select images first.");
      return;
    }
    let ids = entries.map((entry) => entry.id);
    if (action === "accept") ids = await acceptAll(entries);
    else await send(ids, action, label);
    review.made.push({ ids, at: review.at });
    showStatus("");
    const next = review.grid ? drawGrid(true) : show(review.at + 1);
    await Promise.all([next, refreshQueues()]);
  });
}

async function acceptAll(entries) {
  const byClass = new Map();
  for (const entry of entries.filter((one) => one.suggested)) {
    byClass.set(entry.suggested, [...(byClass.get(entry.suggested) || []), entry.id]);
  }
  if (!byClass.size) throw new Error("There is no suggested class here.");
  for (const [label, ids] of byClass) await send(ids, "relabel", label);
  return [...byClass.values()].flat();
}

function undo() {
  return inTurn(async () => {
    const last = review.made.pop();
    const entry = current();
    if (!last && !entry?.decision?.action) return;
    await send(last ? last.ids : [entry.id], "undo");
    await refreshQueues();
    if (review.grid) drawGrid(true);
    else await show(last ? last.at : review.at);
    showStatus("");
  });
}

function toggleHeat() {
  const entry = current();
  if (!entry || part("heat").hidden) return;
  heatOn = !heatOn;
  part("heat").setAttribute("aria-pressed", String(heatOn));
  const label = encodeURIComponent(entry.suggested || entry.label);
  part("photo").src = heatOn ? `heat-map/${entry.id}?class=${label}` : pictureOf(entry.id, "large");
  if (heatOn) showStatus("Computing the heat map …");
}

async function showNeighbours(entry) {
  const box = part("neighbours");
  box.hidden = false;
  box.textContent = "Computing …";
  const label = encodeURIComponent(entry.suggested || entry.label);
  const body = await request(`api/neighbours/${entry.id}?class=${label}`);
  if (entry !== current()) return;
  box.replaceChildren(...body.neighbours.flatMap((row) => {
    const title = document.createElement("h2");
    title.textContent = `Nearest of ${row.class}`;
    const images = document.createElement("div");
    images.className = "row";
    images.append(...row.images.map((one) => {
      const image = document.createElement("img");
      image.src = pictureOf(one.id, "small");
      image.alt = image.title = one.file;
      return image;
    }));
    return [title, images];
  }));
}

function toggleNeighbours() {
  if (part("near").hidden) return;
  neighboursOn = !neighboursOn;
  part("near").setAttribute("aria-pressed", String(neighboursOn));
  part("neighbours").hidden = !neighboursOn;
  if (neighboursOn && current()) showNeighbours(current()).catch((error) => showStatus(error.message));
}

function fillQueues() {
  part("queues").replaceChildren(...review.queues.map((queue) => {
    const option = document.createElement("option");
    option.value = queue.name;
    option.textContent = `${queue.title} (${queue.decided}/${queue.count})`;
    option.selected = queue.name === review.queue.name;
    return option;
  }));
  part("about").textContent = review.queue.about;
}

async function openQueue(name, at) {
  review.queue = review.queues.find((queue) => queue.name === name) || review.queues[0];
  review.entries.clear();
  review.made = [];
  selection.shown = WINDOW;
  fillQueues();
  showProgress();
  await entryAt(0);
  if (review.grid) await drawGrid(true);
  else await show(at ?? review.queue.next);
}

const KEYS = {
  a: () => decide("accept"), Enter: () => decide("accept"), k: () => decide("keep"),
  c: () => chooseClass((name) => decide("relabel", name)), x: () => decide("exclude"),
  u: () => decide("unsure"), z: undo, h: toggleHeat, n: toggleNeighbours, g: toggleGrid,
  ArrowLeft: () => inTurn(() => show(review.at - 1)),
  ArrowRight: () => inTurn(() => show(review.at + 1)),
  "?": () => part("help").showModal(),
};
const BUTTONS = {
  accept: "a", keep: "k", other: "c", exclude: "x", unsure: "u", undo: "z", back: "ArrowLeft",
  next: "ArrowRight", heat: "h", near: "n", "grid-toggle": "g", "help-open": "?",
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const inControl = ["SELECT", "INPUT", "BUTTON"].includes(document.activeElement?.tagName);
  if (inControl && ["Enter", " ", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
  if (document.activeElement?.tagName === "SELECT" || !(key in KEYS)) return;
  if (review.grid && event.key.startsWith("Arrow")) return;
  event.preventDefault();
  KEYS[key]();
});
for (const [id, key] of Object.entries(BUTTONS)) {
  part(id).addEventListener("click", (event) => {
    if (event.detail) event.currentTarget.blur();  // a mouse: keys belong to the page again
    KEYS[key]();
  });
}
part("photo").addEventListener("load", () => { if (heatOn) showStatus(""); });
part("photo").addEventListener("error", () => showStatus("This image cannot be shown."));
part("queues").addEventListener("change", (event) => {
  inTurn(() => openQueue(event.target.value));
});
part("more").addEventListener("click", () => {
  selection.shown += WINDOW;
  drawGrid(false).catch((error) => showStatus(error.message));
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible" || !review.queue) return;
  inTurn(async () => {  // another tab may have decided meanwhile
    review.entries.clear();
    await refreshQueues();
    if (review.grid) await drawGrid(false);
    else await show(review.at);
  });
});

async function start() {
  const state = await request("api/review");
  part("title").textContent = state.title;
  document.title = `Review of ${state.title} · tltool`;
  part("heat").hidden = !state.explains;
  part("near").hidden = !state.finds_neighbours;
  review.queues = state.queues;
  chooseClass = classChooser(part("choose"), part("find"), part("classes"), state.classes);
  const place = new URLSearchParams(location.hash.slice(1));
  const at = Number(place.get("at") ?? NaN);
  await openQueue(place.get("queue"), Number.isInteger(at) ? at : undefined);
}
start().catch((error) => showStatus(error.message));
